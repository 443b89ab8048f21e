"""The Helm chart: what it renders is what Kubernetes and KubeRay take, and it never leaves a door open."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.config import parse_graph, parse_policy
from tests.helm import CHART, helm, render

ROOT = Path(__file__).parents[2]
GPU = ROOT / "configs" / "gpu.yaml"
KUBERNETES = ("1.28", "1.37")
EVERYTHING = (
    "ingress.enabled=true",
    "serviceMonitor.enabled=true",
    "gcsFaultTolerance.enabled=true",
    "gcsFaultTolerance.redisPasswordSecret=redis",
    "image.pullSecrets[0].name=registry",
)
RAY_SERVICE = {
    "spec": {
        "serveConfigV2", "rayClusterConfig", "serviceUnhealthySecondThreshold", "deploymentUnhealthySecondThreshold",
    },
    "rayClusterConfig": {
        "rayVersion", "enableInTreeAutoscaling", "autoscalerOptions", "gcsFaultToleranceOptions", "headGroupSpec",
        "workerGroupSpecs",
    },
    "headGroupSpec": {"rayStartParams", "template"},
    "workerGroupSpecs": {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"},
    "autoscalerOptions": {"idleTimeoutSeconds", "upscalingMode"},
    "gcsFaultToleranceOptions": {"redisAddress", "redisPassword"},
}  # fmt: skip
"""Of KubeRay's RayService, `ray.io/v1`: the keys that the chart uses. Its operator refuses others."""


@pytest.fixture(scope="module")
def manifests() -> list[dict[str, Any]]:
    return render(GPU, *EVERYTHING)


def kind(manifests: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = [one for one in manifests if one["kind"] == name]
    return found


def pods(manifests: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    cluster = kind(manifests, "RayService")["spec"]["rayClusterConfig"]
    yield "head", cluster["headGroupSpec"]["template"]
    yield from ((group["groupName"], group["template"]) for group in cluster["workerGroupSpecs"])


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_every_manifest_of_its_own_kinds(manifests: list[dict[str, Any]], version: str) -> None:
    own = [one for one in manifests if one["apiVersion"].split("/")[0] not in ("ray.io", "monitoring.coreos.com")]
    assert {"Ingress", "NetworkPolicy", "PodDisruptionBudget"} == {one["kind"] for one in own}
    for one in own:
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_the_pods_of_every_group(manifests: list[dict[str, Any]], version: str) -> None:
    for name, template in pods(manifests):
        pod = {"apiVersion": "v1", "kind": "Pod", **template}
        pod["metadata"] = {**template["metadata"], "name": name}
        kubernetes_validate.validate(pod, version, strict=True)


def test_the_ray_service_has_no_key_that_its_operator_does_not_know(manifests: list[dict[str, Any]]) -> None:
    service = kind(manifests, "RayService")
    cluster = service["spec"]["rayClusterConfig"]
    assert RAY_SERVICE["spec"] >= service["spec"].keys()
    assert RAY_SERVICE["rayClusterConfig"] >= cluster.keys()
    for name in ("headGroupSpec", "autoscalerOptions", "gcsFaultToleranceOptions"):
        assert RAY_SERVICE[name] >= cluster[name].keys(), name
    for group in cluster["workerGroupSpecs"]:
        assert RAY_SERVICE["workerGroupSpecs"] == group.keys()
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


@pytest.mark.parametrize("file", ["gpu", "local"])
def test_the_graph_in_it_is_the_config_file(file: str) -> None:
    config = ROOT / "configs" / f"{file}.yaml"
    told = yaml.safe_load(kind(render(config), "RayService")["spec"]["serveConfigV2"])
    assert yaml.safe_load(config.read_text()) == told
    (application,) = told["applications"]
    assert parse_graph(application["args"]).pools
    assert parse_policy(application["deployments"][0]["user_config"]).tiers


def test_no_pod_runs_as_root_or_without_rays_token(manifests: list[dict[str, Any]]) -> None:
    for name, template in pods(manifests):
        (container,) = template["spec"]["containers"]
        env = {one["name"]: one for one in container["env"]}
        assert "token" == env["RAY_AUTH_MODE"]["value"], name
        assert "auth_token" == env["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]["key"], name
        assert not env["FORWARDED_ALLOW_IPS"]["value"], name
        security = container["securityContext"]
        assert (True, False, ["ALL"]) == (
            security["runAsNonRoot"], security["allowPrivilegeEscalation"], security["capabilities"]["drop"],
        ), name  # fmt: skip
        assert not template["spec"]["automountServiceAccountToken"], name
        assert container["resources"]["limits"] == container["resources"]["requests"], name


def test_no_secret_stands_in_a_manifest(manifests: list[dict[str, Any]]) -> None:
    assert "Secret" not in {one["kind"] for one in manifests}
    for template in dict(pods(manifests)).values():
        (container,) = template["spec"]["containers"]
        for one in container["env"]:
            secret = any(word in one["name"] for word in ("SECRET", "TOKEN", "KEY", "PASSWORD"))
            assert ("valueFrom" in one) == secret, one["name"]


def test_only_the_groups_with_gpus_ask_for_them(manifests: list[dict[str, Any]]) -> None:
    asked: Mapping[str, bool] = {
        name: "nvidia.com/gpu" in template["spec"]["containers"][0]["resources"]["limits"]
        for name, template in pods(manifests)
    }
    assert {"head": False, "gateways": False, "gpus": True} == asked


def test_the_network_lets_strangers_reach_the_api_alone(manifests: list[dict[str, Any]]) -> None:
    rules = kind(manifests, "NetworkPolicy")["spec"]["ingress"]
    open_to_all = [rule for rule in rules if "from" not in rule]
    assert [[{"port": 8000}]] == [rule["ports"] for rule in open_to_all]


def test_without_a_graph_or_a_certificate_it_says_what_to_pass() -> None:
    with pytest.raises(subprocess.CalledProcessError) as missing:
        render(Path("/dev/null"))
    assert "--set-file serveConfig=" in missing.value.stderr
    with pytest.raises(subprocess.CalledProcessError) as bare:
        render(GPU, "ingress.enabled=true", "ingress.tlsSecret=")
    assert "ingress.tlsSecret" in bare.value.stderr


def test_helm_finds_nothing_to_say_against_the_chart() -> None:
    command = [helm(), "lint", "--strict", CHART, "--set-file", f"serveConfig={GPU}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
