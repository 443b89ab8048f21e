"""`penstock plan`, `penstock profile`: how much of what, and at which price. main -> [planner] -> app.planner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import output
from app.config import Config, ConfigError, load_file

if TYPE_CHECKING:
    from app.planner.plan import Plan

Key = Annotated[str | None, typer.Option(envvar="PENSTOCK_KEY", help="Default: the development key.")]


def plan(
    trace: Annotated[Path, typer.Option(help="Arrivals: Azure's CSV or Mooncake's JSON lines.", dir_okay=False)],
    config: Annotated[Path, typer.Option(help="The graph to plan for.", dir_okay=False)],
    *,
    profile: Annotated[Path | None, typer.Option(help="What `penstock profile` measured.")] = None,
    out: Annotated[Path | None, typer.Option(help="A folder for the report: HTML, charts, JSON.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything for a program.")] = False,
    tokens: Annotated[float, typer.Option(min=1, help="Tokens a day, prompts and answers.")] = 1e9,
    users: Annotated[int, typer.Option(min=1, help="Users at once.")] = 100_000,
    think: Annotated[float, typer.Option(min=0, help="Seconds from an answer to the user's next call.")] = 120.0,
    shares: Annotated[str | None, typer.Option(help="Percent of the calls by tier, cheapest first: 90,7,3.")] = None,
    scores: Annotated[Path | None, typer.Option(help="JSON list of complexity scores of your own traffic.")] = None,
    cache_hits: Annotated[
        float, typer.Option(min=0, max=1, help="Part of the calls the semantic cache answers.")
    ] = 0.1,
    prefix: Annotated[float, typer.Option(min=0, max=1, help="Part of a prompt the prefix cache holds.")] = 0.3,
    first: Annotated[float, typer.Option(min=0.001, help="Service level: seconds to the first token.")] = 2.0,
    gap: Annotated[float, typer.Option(min=0.001, help="Service level: mean seconds between tokens.")] = 0.1,
    gpu_hour: Annotated[float | None, typer.Option(min=0, help="Money for a GPU's hour, over the config's.")] = None,
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Processes that simulate.")] = 2,
) -> None:
    """Replay a recorded stream of calls through a model of the graph: GPUs, latency, cost, margin."""
    from app.planner import plan as planning
    from app.planner import profile as profiles
    from app.planner import report
    from app.planner.scenario import Assumptions
    from app.planner.trace import TraceError, read

    loaded = _loaded(config)
    try:
        known = profiles.load(profile) if profile else profiles.Profiles(pools={})
        assumed = Assumptions(
            judges={name: (one.base, one.per_token, one.at_most) for name, one in known.judges.items()},
            shares=_shares(shares, loaded),
            scores=_scores(scores),
            cache_hits=cache_hits,
            prefix_share=prefix,
            target_first_s=first,
            target_gap_s=gap,
            gpu_hour=gpu_hour,
            seed=seed,
        )
        asked = planning.Ask(tokens, users, think, workers)
        found = planning.plan(loaded, read(trace), assumed, asked, known.pools)
        written = report.write(found, out) if out else []
    except (ConfigError, TraceError, profiles.ProfileError, ValueError, OSError) as error:
        output.fail(str(error))
    if as_json:
        output.as_json(report.as_json(found))
        return
    _print(found)
    for file in written:
        if file.name == "report.html":
            output.line(f"the report: {file}")


def profile(
    file: Annotated[Path, typer.Argument(help="Where the profile is written.", dir_okay=False)],
    *,
    url: Annotated[str, typer.Option(envvar="PENSTOCK_URL", help="Where the graph, or any engine, serves.")] = (
        "http://127.0.0.1:8000"
    ),
    key: Key = None,
    model: Annotated[str, typer.Option(help="The model, tier or pool's model to ask.")] = "small",
    pool: Annotated[list[str] | None, typer.Option(help="Pools of the config it speaks for; repeat.")] = None,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of one replica.")] = 0.0,
    kv_bytes: Annotated[float, typer.Option(min=1, help="KV cache bytes of a token, from the model's card.")] = 131_072,
    kv_tokens: Annotated[
        int, typer.Option(min=1, help="Tokens the KV cache holds: the engine's log says it.")
    ] = 100_000,
    longest: Annotated[int, typer.Option(min=32, help="Longest prompt to try, in tokens.")] = 1024,
    batch: Annotated[int, typer.Option(min=1, help="Most answers at once to try.")] = 16,
) -> None:
    """Measure one replica that runs alone: prefill by prompt length, a decode step by batch size."""
    import asyncio

    import httpx

    from app.installation.paths import development_key
    from app.planner import measure
    from app.planner.profile import ProfileError, save

    asked = measure.Target(url.rstrip("/"), key or development_key(), model, longest, batch)
    fixed = measure.Fixed(gpus, kv_bytes, kv_tokens)
    try:
        found = asyncio.run(measure.measure(asked, fixed, lambda words: output.err.print(words, highlight=False)))
        save(file, dict.fromkeys(pool or [model], found))
    except (ProfileError, OSError) as error:
        output.fail(str(error))
    except httpx.HTTPError as error:
        output.fail(f"cannot measure {url}: {error or type(error).__name__}. Is the graph running?")
    output.line(f"{file} is written, for {', '.join(pool or [model])}: {found.source}")


def _loaded(file: Path) -> Config:
    try:
        return load_file(file)
    except ConfigError as error:
        output.fail(str(error))


def _shares(text: str | None, config: Config) -> dict[str, float]:
    """Raises ValueError."""
    if text is None:
        return {}
    names = sorted(config.policy.tiers, key=lambda name: config.policy.tiers[name].min_complexity)
    try:
        parts = [float(part) for part in text.split(",")]
    except ValueError:
        parts = []
    if len(parts) != len(names) or min(parts) < 0 or not sum(parts):
        msg = f"--shares {text}: give one percentage for each of {', '.join(names)}"
        raise ValueError(msg)
    return dict(zip(names, parts, strict=True))


def _scores(file: Path | None) -> tuple[float, ...]:
    """Raises ValueError, OSError."""
    if file is None:
        return ()
    try:
        return tuple(float(score) for score in json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        msg = f"{file}: want a JSON list of numbers"
        raise ValueError(msg) from error


def _print(found: Plan) -> None:
    from app.planner.tables import tables

    for one in tables(found):
        if one.rows:
            output.out.print(f"\n[bold]{one.title}[/]")
            output.table(one.columns, one.rows)
