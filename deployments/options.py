"""A config's Scale as Ray Serve deployment options, and the environment every replica needs."""

from __future__ import annotations

import os
from typing import Any

from app.config import Scale

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
"""No replica reaches for a model hub unless the config names a `hub:` model."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
"""Small models: a second thread makes their tail latency worse, not better."""
ONE_LOOP = {
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1000",
}
"""What Serve calls throughput-optimized, but for its ingress and its logs: every hop between replicas costs about half.
Our adapters compute in threads of their own, so a replica's one loop is never held up."""
FOLDERS = ("PENSTOCK_CACHE", "PENSTOCK_STATE", "XDG_CACHE_HOME", "XDG_STATE_HOME")
"""Where models and state lie, when the machine that builds the graph says so."""


def environment(**more: str) -> dict[str, Any]:
    """A runtime_env for a replica of small models."""
    folders = {name: os.environ[name] for name in FOLDERS if name in os.environ}
    return {"env_vars": {**OFFLINE, **ONE_THREAD, **ONE_LOOP, **folders, **more}}


def serve_options(scale: Scale, runtime_env: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `deployment.options`."""
    actor = {"num_cpus": scale.num_cpus, "num_gpus": scale.num_gpus, "runtime_env": runtime_env}
    return {**counts(scale), "ray_actor_options": actor}


def counts(scale: Scale) -> dict[str, Any]:
    """The part of them that pools share: how many replicas, how many calls each takes and holds, and how long a
    replica that is replaced may finish them.
    """
    options: dict[str, Any] = {
        "max_ongoing_requests": scale.max_ongoing_requests,
        "max_queued_requests": scale.max_queued_requests,
        "graceful_shutdown_timeout_s": scale.graceful_shutdown_timeout_s,
    }
    if scale.autoscaling_config:
        options["autoscaling_config"] = scale.autoscaling_config
    if scale.num_replicas == "auto" or not scale.autoscaling_config:
        options["num_replicas"] = scale.num_replicas
    return options
