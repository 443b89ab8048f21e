"""Start Ray and the graph, wait until it answers, and leave no process behind.

The child (graphs/run.py) does what a user's own `serve run FILE` would; this adds the checks before and the banner
after.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import yaml
from rich.console import Console
from rich.panel import Panel

from app.config import Config, VllmPool
from app.installation.paths import development_key, folder
from app.models.catalog import cache

console = Console(stderr=True)
BASE_MEMORY = 4.5
"""GiB that Ray, the gateway and the judges take; measured by `bench/start.py`."""
POOL_MEMORY = 2.0
"""GiB a CPU pool of the bundled model takes, at most."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "1",
    # Serve's own set for throughput; but its HTTP proxy stays in front, and replicas still log to our file.
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",
    "RAY_SERVE_LOG_TO_STDERR": "1",
    "RAY_AUTH_MODE": "token",
    # Named for where it is the default: Ray's own address is then 127.0.0.1, and nothing of it listens elsewhere.
    # Without it Ray takes 127.0.0.1, given as its address, for the machine's address in the network.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Serve's proxy is a uvicorn, which would believe `X-Forwarded-For` of whoever connects from this machine: a tunnel,
    # a sidecar. Whom to believe is `ip_limits.trusted_hops`.
    "FORWARDED_ALLOW_IPS": "",
}
"""What Ray's own processes read; a value already in the environment wins."""


GAVE_UP = ("DEPLOY_FAILED", "Failed to update the deployments", "' failed with exception:", "Unexpected error occurred")
"""What Serve's controller writes when it gives an application up."""


RUN = "PENSTOCK_RUN"
"""In the environment of every process of one graph: what finds those whose parent is gone."""
PATIENCE, GRACE = 20.0, 5.0
"""Seconds for the child to end, and then for what it started, before they are killed."""


class LaunchError(RuntimeError):
    """The graph cannot start; the message says why and how to mend it."""


def launch(file: Path, config: Config, dashboard: int, patience: float) -> None:
    """Serve FILE until Ctrl-C. Raises LaunchError."""
    host, port = address(file)
    log = folder() / "serve.log"
    started, run = time.monotonic(), secrets.token_hex(8)
    listen()
    with log.open("wb") as sink:
        child = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [sys.executable, "-m", "graphs.run", str(file), str(dashboard)],
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**QUIET, **os.environ, RUN: run},
            start_new_session=True,
        )
        try:
            wait_until_ready(child, f"http://{host}:{port}", log, patience)
            console.print(banner(host, port, dashboard, config, time.monotonic() - started))
            child.wait()
            raise LaunchError(f"the graph stopped by itself. Its log: {log}\n{tail(log)}")
        except KeyboardInterrupt:
            console.print("stopping ...")
        finally:
            stop(child, run)


def listen() -> None:
    """End on SIGINT and on SIGTERM, also where they were ignored: a script's `&` starts its children so.

    To be called before the child is started: it would inherit that they are ignored, and Ray's processes from it.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _as_interrupt)


def preflight(file: Path, config: Config, dashboard: int) -> None:
    """What would only fail half-way: ports, memory, disk. Raises LaunchError."""
    check_port(*address(file), "http_options.port in the config")
    check_port("127.0.0.1", dashboard, "--dashboard-port")
    check_memory(config)
    check_disk()


def address(file: Path) -> tuple[str, int]:
    """Host and port of the file's `http_options`."""
    options = yaml.safe_load(file.read_text(encoding="utf-8")).get("http_options") or {}
    host = str(options.get("host", "127.0.0.1"))
    return ("127.0.0.1" if host == "0.0.0.0" else host), int(options.get("port", 8000))  # noqa: S104 - only compared


def check_port(host: str, port: int, key: str) -> None:
    """Raises LaunchError when something else listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise LaunchError(
                f"port {port} on {host} is taken: stop what listens there, or set another with {key}"
            ) from error


def check_memory(config: Config) -> None:
    """Refuse to start what would only be killed half-way."""
    cpu_pools = sum(isinstance(p, VllmPool) and p.accelerator.kind == "cpu" for p in config.graph.pools.values())
    needed, free = BASE_MEMORY + POOL_MEMORY * cpu_pools, psutil.virtual_memory().available / 2**30
    if free < needed:
        raise LaunchError(
            f"about {needed:.1f} GiB of memory are needed and {free:.1f} GiB are free: close something, "
            "take out a pool, or set `placement: inline` on ports to save a process each"
        )


def check_disk() -> None:
    """Raises LaunchError when Ray and the ledger would soon fail."""
    free_disk = shutil.disk_usage(cache() if cache().exists() else Path.home()).free / 2**30
    if free_disk < 1:
        raise LaunchError(f"the disk of {cache()} has {free_disk:.1f} GiB free; Ray and the ledger need at least 1 GiB")


def wait_until_ready(child: subprocess.Popen[bytes], url: str, log: Path, patience: float) -> None:
    """Poll /readyz, showing what is still missing."""
    deadline = time.monotonic() + patience
    with console.status("starting Ray") as status:
        while time.monotonic() < deadline:
            if child.poll() is not None:
                raise LaunchError(f"the graph did not start (exit {child.returncode}). Its log: {log}\n{tail(log)}")
            if why := failed(log):
                raise LaunchError(f"the graph did not start: {why}\nIts log: {log}")
            try:
                answer = httpx.get(f"{url}/readyz", timeout=5)
                if answer.status_code == 200:
                    return
                missing = answer.json().get("waiting_for", []) if answer.status_code == 503 else []
                status.update("waiting for " + (", ".join(missing) or "the gateway"))
            except (httpx.HTTPError, ValueError):
                status.update("starting the graph")
            time.sleep(0.3)
    raise LaunchError(f"the graph was not ready after {patience:.0f} s. Its log: {log}\n{tail(log)}")


def failed(log: Path) -> str | None:
    """The reason when Serve has given up: it keeps running, so its exit code never tells."""
    text = log.read_text(encoding="utf-8", errors="replace")
    for mark in ("ConfigError:", "ModelError:", "StateError:", "LedgerError:"):
        if mark in text:
            return text.split(mark, 1)[1].strip().splitlines()[0]
    return tail(log) if any(said in text for said in GAVE_UP) else None


def tail(log: Path, lines: int = 15) -> str:
    """The end of the log."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def banner(host: str, port: int, dashboard: int, config: Config, seconds: float) -> Panel:
    """How to call it."""
    url = f"http://{host}:{port}/v1"
    key = development_key() if config.graph.state.development_key else "$(penstock keys create TENANT)"
    body = '{"model":"auto","messages":[{"role":"user","content":"Hello!"}]}'
    return Panel.fit(
        f"[bold]Penstock is ready[/] after {seconds:.0f} s\n\n"
        f"url   {url}\nkey   {key}\n\n"
        f"curl {url}/chat/completions \\\n  -H 'Authorization: Bearer {key}' \\\n"
        f"  -H 'Content-Type: application/json' \\\n  -d '{body}'\n\n"
        f"or talk to it: [bold]penstock chat --url http://{host}:{port}[/]\n"
        f"after an edit: [bold]serve deploy FILE --address http://127.0.0.1:{dashboard}[/]\n"
        "Ctrl-C stops everything"
    )


def stop(child: subprocess.Popen[bytes], run: str) -> None:
    """End the child and everything it started: Ray's daemons are its descendants, or carry its RUN.

    Takes half a minute at most; further signals cut nothing of it short.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    family = _family(child, run)
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGINT)
        try:
            child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
    _, alive = psutil.wait_procs([*{*family, *_family(child, run)}], timeout=GRACE)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=5)


def _family(child: subprocess.Popen[bytes], run: str) -> list[psutil.Process]:
    try:
        below = list(psutil.Process(child.pid).children(recursive=True))
    except psutil.NoSuchProcess:
        below = []
    return [
        *below,
        *(one for one in psutil.process_iter() if one not in below and one.pid != child.pid and _carries(one, run)),
    ]


def _carries(process: psutil.Process, run: str) -> bool:
    try:
        return str(process.environ().get(RUN)) == run
    except (psutil.Error, OSError):  # it has just ended, or is another user's
        return False


def _as_interrupt(*_: object) -> None:
    raise KeyboardInterrupt
