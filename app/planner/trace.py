"""Recorded arrivals: Azure's CSV and Mooncake's JSON lines as one list, scaled to a load. plan, bench -> [trace].

Azure (LLM inference traces 2023): `TIMESTAMP,ContextTokens,GeneratedTokens`, and no word on which prompts share a
beginning. Mooncake (FAST'25): `{"timestamp": ms, "input_length": n, "output_length": n, "hash_ids": [...]}`, where
equal ids are equal blocks of 512 tokens with all that stands before them.
"""

from __future__ import annotations

import csv
import json
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

DAY_S = 86_400.0
BLOCK_TOKENS = 512
"""Of one of Mooncake's hashes."""
AZURE_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_MICROSECONDS = 26
"""Characters of `2023-11-16 18:15:46.680590`: the trace writes a seventh digit."""


class TraceError(ValueError):
    """A file that is no trace; the message names the line."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One call. at: seconds from the first. blocks: ids of its prompt's blocks, where the trace knows them."""

    at: float
    prompt_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] | None = None

    @property
    def tokens(self) -> int:
        """Prompt and answer together."""
        return self.prompt_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Load:
    """What a trace asks for. span_s: seconds from the first call to one mean gap after the last."""

    calls: int
    span_s: float
    prompt_tokens: int
    output_tokens: int

    @property
    def calls_per_second(self) -> float:
        """The mean."""
        return self.calls / self.span_s

    @property
    def tokens_per_day(self) -> float:
        """As if the whole day were like it."""
        return (self.prompt_tokens + self.output_tokens) / self.span_s * DAY_S


def read(path: Path) -> list[Arrival]:
    """The trace in `path`, by its first line, in order of time and from 0 on. Raises TraceError, OSError."""
    with path.open(encoding="utf-8", newline="") as lines:
        first = lines.readline()
        lines.seek(0)
        rows = list(_azure(path, lines) if first.startswith(AZURE_COLUMNS[0]) else _mooncake(path, lines))
    if not rows:
        raise TraceError(f"{path}: there is no call in it")
    rows.sort(key=lambda row: row.at)
    return [replace(row, at=row.at - rows[0].at) for row in rows]


def _azure(path: Path, lines: Iterable[str]) -> Iterator[Arrival]:
    table = csv.DictReader(lines)
    if missing := set(AZURE_COLUMNS) - set(table.fieldnames or ()):
        raise TraceError(f"{path}, line 1: the column {min(missing)} is missing")
    for number, row in enumerate(table, 2):
        try:
            at = datetime.fromisoformat(row["TIMESTAMP"][:_MICROSECONDS]).timestamp()
            yield _arrival(at, int(row["ContextTokens"]), int(row["GeneratedTokens"]))
        except (ValueError, TypeError) as error:
            raise TraceError(f"{path}, line {number}: want a time and two whole numbers of tokens") from error


def _mooncake(path: Path, lines: Iterable[str]) -> Iterator[Arrival]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            blocks = tuple(int(block) for block in row["hash_ids"]) if "hash_ids" in row else None
            yield _arrival(row["timestamp"] / 1000, int(row["input_length"]), int(row["output_length"]), blocks)
        except (ValueError, TypeError, KeyError) as error:
            what = "want Azure's CSV, or JSON with timestamp, input_length, output_length"
            raise TraceError(f"{path}, line {number}: {what}") from error


def _arrival(at: float, prompt: int, output: int, blocks: tuple[int, ...] | None = None) -> Arrival:
    """Raises ValueError for a negative count; an answer has at least one token, a prompt too."""
    if min(prompt, output) < 0:
        raise ValueError(prompt, output)
    return Arrival(at, max(prompt, 1), max(output, 1), blocks)


def load(trace: Sequence[Arrival]) -> Load:
    """What it asks for. Raises TraceError for an empty one."""
    if not trace:
        raise TraceError("a trace without calls has no load")
    last = trace[-1].at - trace[0].at
    span = last * len(trace) / (len(trace) - 1) if len(trace) > 1 and last else 1.0
    return Load(len(trace), span, sum(a.prompt_tokens for a in trace), sum(a.output_tokens for a in trace))


def scaled(trace: Sequence[Arrival], tokens_per_day: float) -> list[Arrival]:
    """The same calls closer together or farther apart, so that a day of them has so many tokens.

    Bursts stay in proportion: a burst of 10 s at half the load is one of 5 s at the whole.
    """
    return paced(trace, tokens_per_day / load(trace).tokens_per_day)


def paced(trace: Sequence[Arrival], factor: float) -> list[Arrival]:
    """The same calls, `factor` times as many a second."""
    return [replace(one, at=one.at / factor) for one in trace]


def swinging(trace: Sequence[Arrival], depth: float, swings: int) -> list[Arrival]:
    """The same calls in the same time, slowly first: by turns 1 / (1 + depth) and 1 / (1 - depth) times as fast."""
    span = load(trace).span_s
    turn = 2 * math.pi * swings / span
    return [replace(one, at=one.at + depth / turn * math.sin(turn * one.at)) for one in trace]


def repeated(trace: Sequence[Arrival], times: int) -> list[Arrival]:
    """The trace, and again after it, so many times in all."""
    span = load(trace).span_s
    return [replace(one, at=one.at + turn * span) for turn in range(times) for one in trace]


def thinned(trace: Sequence[Arrival], calls: int) -> list[Arrival]:
    """The first `calls` calls."""
    return list(trace[:calls])


def synthetic(calls: int, seed: int, *, calls_per_second: float = 5.5, burstiness: float = 1.5) -> list[Arrival]:
    """A stream of the shape of Azure's conversation trace, made up: lognormal lengths, gaps that come in bursts.

    burstiness: the gaps' coefficient of variation; 1 is a Poisson stream. Medians of the lengths: 1,020 and 129 tokens.
    """
    rng = random.Random(seed)  # noqa: S311 - a simulation
    shape = 1 / burstiness**2
    at, found = 0.0, []
    for _ in range(calls):
        prompt = min(max(int(rng.lognormvariate(6.9, 0.9)), 2), 14_050)
        output = min(max(int(rng.lognormvariate(4.9, 0.95)), 7), 1_000)
        found.append(Arrival(at, prompt, output))
        at += rng.gammavariate(shape, 1 / (shape * calls_per_second))
    return found


def write_azure(trace: Iterable[Arrival], path: Path) -> None:
    """Write it in Azure's form."""
    start = datetime.fromisoformat("2023-11-16 18:15:46").timestamp()
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(AZURE_COLUMNS)
        for one in trace:
            at = datetime.fromtimestamp(start + one.at)  # noqa: DTZ006 - the form has no zone
            table.writerow((f"{at:%Y-%m-%d %H:%M:%S.%f}0", one.prompt_tokens, one.output_tokens))
