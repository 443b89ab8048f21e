"""Every shipped config builds into a Serve application, without a GPU, a hub or a cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DESCRIBE = """
import json, sys, yaml
from graphs.chat import build
from ray.serve._private.build_app import build_app
document = yaml.safe_load(open(sys.argv[1]))
built = build_app(build(document["applications"][0]["args"]), name="penstock")
print("RESULT" + json.dumps({
    d.name: {"actor": d.ray_actor_options, "bundles": d._replica_config.placement_group_bundles,
             "ongoing": d.max_ongoing_requests, "queued": d.max_queued_requests, "replicas": d.num_replicas,
             "autoscaling": d._deployment_config.autoscaling_config is not None}
    for d in built.deployments}, default=str))
"""


def describe(file: str) -> dict[str, Any]:
    """Deployment -> its options. In a process of its own: building loads vLLM for the config's platform."""
    run = subprocess.run([sys.executable, "-c", DESCRIBE, file], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    found: dict[str, Any] = json.loads(run.stdout.split("RESULT", 1)[1])
    return found


JUDGES = {"Gateway", "Encoder", "Scrubber", "Guard", "Cache", "ParaphraseJudge", "Complexity", "Moderator"}


@pytest.fixture(scope="module")
def local() -> dict[str, Any]:
    return describe("configs/local.yaml")


def test_every_port_and_pool_is_a_deployment_of_its_own(local: dict[str, Any]) -> None:
    assert set(local) == JUDGES | {"BatchWorker", "Pool:smol-a", "Pool:smol-b"}


def test_two_cores_hold_the_whole_local_graph(local: dict[str, Any]) -> None:
    actors = sum(d["actor"].get("num_cpus") or 0 for d in local.values() if not d["bundles"])
    bundles = sum(bundle.get("CPU", 0) for d in local.values() for bundle in d["bundles"] or [])
    assert 0 < actors + bundles <= 2


def test_what_a_replica_needs_in_its_environment_comes_from_the_graph(local: dict[str, Any]) -> None:
    for name, deployment in local.items():
        assert deployment["actor"]["runtime_env"]["env_vars"]["HF_HUB_OFFLINE"] == "1", name
    assert local["Pool:smol-a"]["actor"]["runtime_env"]["env_vars"]["VLLM_TARGET_DEVICE"] == "cpu"


def test_limits_of_the_config_reach_serve(local: dict[str, Any]) -> None:
    assert (local["Gateway"]["ongoing"], local["Gateway"]["queued"]) == (512, 10_000)
    assert (local["Pool:smol-a"]["ongoing"], local["Pool:smol-a"]["queued"]) == (32, 256)


def test_inline_ports_have_no_deployment() -> None:
    assert set(describe("configs/disaggregated.yaml")) == {"Gateway", "Pool:split", "Prefill:split"}


def test_the_gpu_config_builds_with_its_gpu_fractions() -> None:
    gpu = describe("configs/gpu.yaml")
    assert set(gpu) == JUDGES - {"Complexity"} | {
        "BatchWorker",
        "Pool:mistral-7b",
        "Pool:mistral-small-24b",
        "Pool:llama-70b",
        "Prefill:llama-70b",
    }
    assert gpu["Moderator"]["actor"]["num_gpus"] == 0.1
    assert gpu["Encoder"]["actor"]["num_gpus"] == 0.05
    assert [bundle["GPU"] for bundle in gpu["Pool:mistral-7b"]["bundles"]] == [0.5]
    assert sum(bundle["GPU"] for bundle in gpu["Pool:llama-70b"]["bundles"]) == 4
    assert gpu["Pool:mistral-7b"]["autoscaling"]


def test_a_wrong_graph_is_refused_before_any_replica_starts() -> None:
    code = "from graphs.chat import build; build({'pools': {}, 'encoder': {'adapter': 'minlm'}})"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "args.guard: Field required" in run.stderr
