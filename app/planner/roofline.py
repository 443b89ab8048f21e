"""Profiles from published figures: a GPU's data sheet and a model's shape. scenario -> [roofline] -> Profile.

Reading a prompt is bound by arithmetic: 2 operations a parameter and token. Writing is bound by memory: a step reads
the weights once and every answer's context. hardware.yaml has the figures, their sources and the efficiencies.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field

from app.config import ConfigError, Strict, choose
from app.planner.profile import DecodePoint, Judge, PrefillPoint, Profile

DATA = Path(__file__).with_name("hardware.yaml")
BYTES_PER_WEIGHT = 2
LENGTHS = (64, 256, 1024, 4096, 16_384)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
Positive = Annotated[float, Field(gt=0)]


class Gpu(Strict):
    """Published figures of one GPU: operations and bytes a second, bytes; gpu_hour is an example."""

    flops: Positive
    bandwidth: Positive
    memory: Positive
    gpu_hour: Positive
    source: str


class Model(Strict):
    """Published shape of one model."""

    parameters: Positive
    layers: Annotated[int, Field(ge=1)]
    heads: Annotated[int, Field(ge=1)]
    kv_heads: Annotated[int, Field(ge=1)]
    head_size: Annotated[int, Field(ge=1)]
    source: str

    @property
    def kv_bytes_per_token(self) -> int:
        """K and V of every layer, two bytes a number."""
        return 2 * self.layers * self.kv_heads * self.head_size * BYTES_PER_WEIGHT

    @property
    def weight_bytes(self) -> float:
        """In two bytes a parameter."""
        return self.parameters * BYTES_PER_WEIGHT


class Efficiency(Strict):
    """Shares of the published figures that are reached, and what a step costs beside."""

    prefill: Positive
    decode: Positive
    parallel: Positive
    step_overhead_s: Annotated[float, Field(ge=0)]


class Hardware(Strict):
    """hardware.yaml."""

    gpus: dict[str, Gpu]
    models: dict[str, Model]
    efficiency: Efficiency
    judges: dict[str, Judge]
    measured: dict[str, Profile]


@cache
def hardware() -> Hardware:
    """The bundled figures."""
    return Hardware.model_validate(yaml.safe_load(DATA.read_text(encoding="utf-8")))


def roofline(
    gpu_name: str,
    model_name: str,
    gpus: float = 1.0,
    *,
    memory_share: float = 0.9,
    efficiency: Efficiency | None = None,
) -> Profile:
    """A replica of `model_name` on so many GPUs, or a part of one. Raises ConfigError for a name that is not known, or
    where the weights do not fit.

    memory_share: what part of a whole GPU's memory the replica may use.
    """
    data = hardware()
    if gpu_name not in data.gpus:
        raise choose("accelerator.type", gpu_name, data.gpus)
    if model_name not in data.models:
        raise choose("a bundled profile's model", model_name, data.models)
    gpu, model, reached = data.gpus[gpu_name], data.models[model_name], efficiency or data.efficiency
    several = reached.parallel if gpus > 1 else 1.0
    flops, bandwidth = (one * gpus * several for one in (gpu.flops * reached.prefill, gpu.bandwidth * reached.decode))
    free = gpu.memory * memory_share * max(gpus, 1.0) - model.weight_bytes
    if free <= 0:
        msg = f"{model_name} takes {model.weight_bytes / 1e9:.0f} GB and does not fit on {gpus:g} x {gpu_name}"
        raise ConfigError(msg)
    return Profile(
        name=f"{model_name} on {gpus:g} x {gpu_name}",
        source=f"roofline, not measured: {gpu.source}; {model.source}; {_told(reached)}",
        kind="roofline",
        prefill=[_prefill(n, model, flops, bandwidth) for n in LENGTHS],
        decode=[_decode(n, model, flops, bandwidth, reached) for n in BATCHES],
        kv_bytes_per_token=model.kv_bytes_per_token,
        kv_tokens=max(int(free / model.kv_bytes_per_token), 1),
        kv_read_s=model.kv_bytes_per_token / bandwidth,
        gpus=gpus,
    )


def _prefill(tokens: int, model: Model, flops: float, bandwidth: float) -> PrefillPoint:
    """Whichever bound is reached first; attention's own work, quadratic, is added for long prompts."""
    attention = 4 * model.layers * model.heads * model.head_size * tokens / 2
    arithmetic = tokens * (2 * model.parameters + attention) / flops
    return PrefillPoint(
        prompt_tokens=tokens, tokens_per_second=tokens / max(arithmetic, model.weight_bytes / bandwidth)
    )


def _decode(batch: int, model: Model, flops: float, bandwidth: float, reached: Efficiency) -> DecodePoint:
    bound = max(model.weight_bytes / bandwidth, 2 * model.parameters * batch / flops)
    return DecodePoint(batch=batch, step_s=bound + reached.step_overhead_s)


def _told(reached: Efficiency) -> str:
    return (
        f"assumed: {reached.prefill:.0%} of the FLOPs reading, {reached.decode:.0%} of the bandwidth writing, "
        f"{reached.parallel:.0%} of both over several GPUs, {reached.step_overhead_s * 1000:g} ms a step"
    )
