"""What a replica of a pool can do, as points and lines between them: measured, or from data sheets. sim -> [profile].

measure.py makes one by asking a running pool; roofline.py from a GPU's and a model's published figures.
"""

from __future__ import annotations

import bisect
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from app.config import Strict

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class ProfileError(ValueError):
    """A profile that cannot be used; the message says why."""


class PrefillPoint(Strict):
    """How fast prompts of a length are read, in prompt tokens a second for the replica."""

    prompt_tokens: Count
    tokens_per_second: Positive


class DecodePoint(Strict):
    """How long a step lasts that gives each of `batch` answers one token."""

    batch: Count
    step_s: Positive


class Profile(Strict):
    """One replica. Points are in order; between them lines, outside the nearest.

    kv_read_s: seconds that each token of context of the batch adds to a step. kv_tokens: what fits into the KV cache.
    overhead_s: what stands around the engine in a measured call that nothing else explains (gateway, judges, network):
    `overhead_servers` calls at once pass it. source: where the figures come from, in a sentence.
    """

    name: str
    source: str
    kind: Literal["measured", "roofline"]
    prefill: Annotated[list[PrefillPoint], Field(min_length=1)]
    decode: Annotated[list[DecodePoint], Field(min_length=1)]
    kv_bytes_per_token: Positive
    kv_tokens: Count
    kv_read_s: Annotated[float, Field(ge=0)] = 0.0
    gpus: Annotated[float, Field(ge=0)] = 0.0
    max_batch: Count = 256
    overhead_s: Annotated[float, Field(ge=0)] = 0.0
    overhead_servers: Count = 1

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name, xs in (
            ("prefill", [p.prompt_tokens for p in self.prefill]),
            ("decode", [p.batch for p in self.decode]),
        ):
            if sorted(set(xs)) != xs:
                msg = f"{name}: write the points in order, each once"
                raise ValueError(msg)
        return self

    def prefill_s(self, tokens: int) -> float:
        """Seconds to read `tokens` prompt tokens, alone."""
        return tokens / _prefill_rate(self, tokens) if tokens > 0 else 0.0

    def step_s(self, batch: int, context_tokens: float) -> float:
        """Seconds of a step over `batch` answers with so much context in all."""
        return _step(self, batch) + self.kv_read_s * context_tokens

    def tokens_per_second(self, batch: int, context: float) -> float:
        """Output tokens a second of a full batch whose answers have so much context each, while nothing is read."""
        return batch / self.step_s(batch, batch * context)

    def __hash__(self) -> int:
        return id(self)


class Judge(Strict):
    """What a judge takes: base + per_token x tokens, of which it reads at most so many. Seconds."""

    base: Annotated[float, Field(ge=0)]
    per_token: Annotated[float, Field(ge=0)]
    at_most: Annotated[int, Field(ge=0)]

    def seconds(self, tokens: int) -> float:
        """For a call of so many tokens."""
        return self.base + self.per_token * min(tokens, self.at_most)


class Profiles(Strict):
    """A profile file: by pool of the config. judges: by port, or `gateway`; those left out are as bundled."""

    pools: dict[str, Profile]
    judges: dict[str, Judge] = Field(default_factory=dict)


def load(path: Path) -> Profiles:
    """The profiles of a file that `penstock profile` wrote, or a person. Raises ProfileError."""
    try:
        return Profiles.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ProfileError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ProfileError(f"{path}: {place}: {first['msg']}") from error


def save(path: Path, pools: dict[str, Profile]) -> None:
    """Write a profile file. Raises OSError."""
    path.write_text(json.dumps(Profiles(pools=pools).model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")


@lru_cache(maxsize=65_536)
def _prefill_rate(profile: Profile, tokens: int) -> float:
    points = profile.prefill
    return _between([p.prompt_tokens for p in points], [p.tokens_per_second for p in points], tokens)


@lru_cache(maxsize=65_536)
def _step(profile: Profile, batch: int) -> float:
    points = profile.decode
    return _between([p.batch for p in points], [p.step_s for p in points], batch)


def _between(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    at = bisect.bisect_left(xs, x)
    if at == 0:
        return ys[0]
    if at == len(xs):
        return ys[-1]
    share = (x - xs[at - 1]) / (xs[at] - xs[at - 1])
    return ys[at - 1] + share * (ys[at] - ys[at - 1])
