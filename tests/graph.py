"""A graph as a user starts it, `penstock serve FILE`, and what to ask of it.  tests/conftest.py, tests/ray."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import yaml

from tests.kit import free_port

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


@dataclass
class Graph:
    """A running graph. `process`: `penstock serve`. `file`: its config. `database`: the URL of one of its own."""

    process: subprocess.Popen[str]
    file: Path
    port: int
    dashboard: int
    state: Path
    database: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        return (self.state / "development.key").read_text()

    @property
    def log(self) -> str:
        return (self.state / "serve.log").read_text(errors="replace")

    def new_key(self, tenant: str) -> str:
        """A tenant's key, made as an operator makes one."""
        env = {**os.environ, "PENSTOCK_STATE": str(self.state)}
        command = [BIN / "penstock", "keys", "create", tenant, "--config", str(self.file)]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(api_key=self.key, base_url=f"{self.url}/v1", max_retries=0, timeout=120)

    def engine(self, pool: str, expected: int, seconds: float) -> bool:
        """Whether the pool's engine comes to work on `expected` requests, by vLLM's own count."""
        code = f"""
import ray, sys, time
from ray import serve
ray.init({self._gcs()!r}, namespace="serve", log_to_driver=False, logging_level="error")
handle = serve.get_deployment_handle("Pool:{pool}", "penstock")
deadline = time.monotonic() + {seconds}
while (seen := handle.stats.remote().result(timeout_s=10)["running"]) != {expected}:
    if time.monotonic() > deadline:
        sys.exit(f"running: {{seen}}")
    time.sleep(0.1)
"""
        # Ray guards a local cluster with a token in the user's home; a driver that names an address must say so.
        # And that 127.0.0.1 is meant: Ray would take it for the machine's address in the network.
        env = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
        return subprocess.run([sys.executable, "-c", code], env=env, check=False, timeout=seconds + 60).returncode == 0

    def _gcs(self) -> str:
        words = [word for process in self.family() for word in process.cmdline()]
        return next(word.split("=", 1)[1] for word in words if word.startswith("--gcs-address="))

    def family(self) -> list[psutil.Process]:
        """Every process that the graph started."""
        return list(psutil.Process(self.process.pid).children(recursive=True))

    def deploy(self, document: dict[str, Any]) -> None:
        """`serve deploy` an edited config, as a user does."""
        self.file.write_text(yaml.safe_dump(document))
        done = subprocess.run(
            [BIN / "serve", "deploy", self.file, "--address", f"http://127.0.0.1:{self.dashboard}"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def status(self) -> dict[str, Any]:
        """What Serve says of its applications."""
        token = (Path.home() / ".ray" / "auth_token").read_text().strip()  # Ray made it for this machine's clusters
        answer = httpx.get(
            f"http://127.0.0.1:{self.dashboard}/api/serve/applications/",
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
        )
        application: dict[str, Any] = answer.json()["applications"]["penstock"]
        return application

    def replicas(self) -> dict[str, set[str]]:
        """Deployment -> the ids of its running replicas."""
        return {
            name: {replica["replica_id"] for replica in deployment["replicas"] if replica["state"] == "RUNNING"}
            for name, deployment in self.status()["deployments"].items()
        }


def local_config(port: int) -> dict[str, Any]:
    """configs/local.yaml on another port; smol-b logs what its engine reads."""
    document: dict[str, Any] = yaml.safe_load((ROOT / "configs" / "local.yaml").read_text())
    document["http_options"]["port"] = port
    pools = document["applications"][0]["args"]["pools"]
    pools["smol-b"] = {
        **pools["smol-b"],
        "engine_kwargs": {**pools["smol-b"]["engine_kwargs"], "enable_log_requests": True},
        "env": {"VLLM_LOGGING_LEVEL": "DEBUG"},
    }
    return document


@contextmanager
def running(
    folder: Path, document: dict[str, Any], port: int, *, database: str = "", deaf: bool = False
) -> Iterator[Graph]:
    """`penstock serve` of a config in a folder of its own, ready; nothing of it is left afterwards.

    deaf: started as a script's `&` or `nohup` starts it, with SIGINT ignored.
    """
    dashboard, file, state = free_port(), folder / "config.yaml", folder / "state"
    file.write_text(yaml.safe_dump(document))
    command = [str(BIN / "penstock"), "serve", str(file), "--dashboard-port", str(dashboard)]
    if deaf:
        command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]
    env = {**os.environ, "PENSTOCK_STATE": str(state)}
    with (folder / "out.log").open("w") as out:
        process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, text=True)
        try:
            wait_for_banner(process, folder / "out.log")
            yield Graph(process, file, port, dashboard, state, database)
        finally:
            left = end(process, state)
    assert left == [], "penstock serve did not end on SIGINT, or left processes behind; they were ended by force"


def end(process: subprocess.Popen[str], state: Path) -> list[str]:
    """Stop `penstock serve` and all that it started, ever more harshly. What SIGINT alone did not end, by name."""
    for number, seconds in ((signal.SIGINT, 60), (signal.SIGTERM, 40), (signal.SIGKILL, 10)):
        if process.poll() is None:
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
        if number == signal.SIGINT:
            stubborn = [] if process.poll() is not None else ["penstock serve"]
    _, alive = psutil.wait_procs(descendants(state), timeout=10)
    stubborn += [_name(one) for one in alive]
    for one in alive:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(alive, timeout=10)
    return stubborn


def descendants(state: Path) -> list[psutil.Process]:
    """Every process that was started with this state folder, whoever its parent is now."""
    found = []
    for one in psutil.process_iter():
        with suppress(psutil.Error):  # it has just ended, or is another user's
            if one.environ().get("PENSTOCK_STATE") == str(state) and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
    return found


def _name(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess):
        return process.name()
    return str(process.pid)


def wait_for_banner(process: subprocess.Popen[str], out: Path) -> None:
    deadline = time.monotonic() + 280
    while "Penstock is ready" not in out.read_text():
        assert process.poll() is None, out.read_text()
        assert time.monotonic() < deadline, out.read_text()
        time.sleep(0.2)
