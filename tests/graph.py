"""The whole local graph, started once for all tests that ask it as a user starts it: `penstock serve FILE`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
import yaml

from tests.kit import free_port

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


@dataclass
class Graph:
    """A running graph. `process`: `penstock serve`. `file`: its config."""

    process: subprocess.Popen[str]
    file: Path
    port: int
    dashboard: int
    state: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        return (self.state / "development.key").read_text()

    @property
    def log(self) -> str:
        return (self.state / "serve.log").read_text(errors="replace")

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
        env = {**os.environ, "RAY_AUTH_MODE": "token"}
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


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    folder = tmp_path_factory.mktemp("graph")
    port, dashboard = free_port(), free_port()
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(local_config(port)))
    env = {**os.environ, "PENSTOCK_STATE": str(folder / "state")}
    command = [BIN / "penstock", "serve", str(file), "--dashboard-port", str(dashboard)]
    with (folder / "out.log").open("w") as out:
        process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, text=True)
        running = Graph(process, file, port, dashboard, folder / "state")
        try:
            wait_for_banner(process, folder / "out.log")
            yield running
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(60)


@pytest.fixture
def other_key(graph: Graph) -> str:
    """A key of another tenant, made as an operator makes one."""
    env = {**os.environ, "PENSTOCK_STATE": str(graph.state)}
    command = [BIN / "penstock", "keys", "create", "globex", "--config", str(graph.file)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def wait_for_banner(process: subprocess.Popen[str], out: Path) -> None:
    deadline = time.monotonic() + 280
    while "Penstock is ready" not in out.read_text():
        assert process.poll() is None, out.read_text()
        assert time.monotonic() < deadline, out.read_text()
        time.sleep(0.2)
