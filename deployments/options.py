"""A config's Scale as Ray Serve deployment options, and the environment every replica needs."""

from __future__ import annotations

import os
from typing import Any

from app.config import Scale

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
"""No replica reaches for a model hub unless the config names a `hub:` model."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
"""Small models: a second thread makes their tail latency worse, not better."""
FOLDERS = ("PENSTOCK_CACHE", "PENSTOCK_STATE", "XDG_CACHE_HOME", "XDG_STATE_HOME")
"""Where models and state lie, when the machine that builds the graph says so."""


def environment(**more: str) -> dict[str, Any]:
    """A runtime_env for a replica of small models."""
    folders = {name: os.environ[name] for name in FOLDERS if name in os.environ}
    return {"env_vars": {**OFFLINE, **ONE_THREAD, **folders, **more}}


def serve_options(scale: Scale, runtime_env: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `deployment.options`."""
    options: dict[str, Any] = {
        "max_ongoing_requests": scale.max_ongoing_requests,
        "max_queued_requests": scale.max_queued_requests,
        "ray_actor_options": {
            "num_cpus": scale.num_cpus,
            "num_gpus": scale.num_gpus,
            "runtime_env": runtime_env,
        },
    }
    if scale.autoscaling_config:
        return {**options, "autoscaling_config": scale.autoscaling_config}
    return {**options, "num_replicas": scale.num_replicas}
