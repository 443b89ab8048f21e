"""`penstock route calibrate | explain`: set the tiers' thresholds from traffic; see why a prompt goes where it goes.

main -> [route] -> the config's encoder and complexity head, in this process; or the audit records' scores.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from app.cli import output
from app.cli.admin import DEFAULT, EXAMPLES, CommandContext, command
from app.config import Config, ConfigError, load_file
from app.models.errors import ModelError
from app.routing.calibration import Cut, cuts
from app.routing.catalog import tier_for

route = typer.Typer(no_args_is_help=True, help="How `auto` picks a tier.")
FEW = 300
"""Prompts below which a sample says little about a share of 3 %."""
PAGE = 1000


@command(route, "calibrate")
def calibrate(
    ctx: CommandContext,
    sample: Annotated[
        Path | None,
        typer.Argument(help="JSON lines: prompts, chat requests or batch lines. Default: the scores in the audit."),
    ] = None,
    *,
    share: Annotated[str, typer.Option(help="Percent of calls, from the cheapest tier up.")] = "90,7,3",
    since: Annotated[str, typer.Option(help="Of the audit: from 2026-01-31 or 7d ago.")] = "7d",
    write: Annotated[bool, typer.Option("--write", help="Put the thresholds into the file of --config.")] = False,
) -> None:
    """Find the tiers' `min_complexity` that split your own traffic as --share says."""
    if write and ctx.config.parent == EXAMPLES:
        output.fail("the packaged config is not written to: `penstock config example > serve_config.yaml` first")
    config = _loaded(ctx.config)
    names = sorted(config.policy.tiers, key=lambda name: config.policy.tiers[name].min_complexity)
    try:
        wanted = _shares(share, names)
        scores = _scored(config, prompts(sample)) if sample else list(_audited(ctx, since))
        found = cuts(scores, wanted)
    except (ValueError, OSError, ConfigError, ModelError) as error:
        output.fail(str(error))
    if ctx.as_json:
        output.as_json({"scores": len(scores), "tiers": {n: _json(cut) for n, cut in zip(names, found, strict=True)}})
    else:
        _print(names, found, config, len(scores))
    if write:
        try:
            rewrite(ctx.config, dict(zip(names, (cut.min_complexity for cut in found), strict=True)))
        except ConfigError as error:
            output.fail(str(error))
        output.line(f"{ctx.config} is written: `serve deploy {ctx.config}` brings it to the running gateways")


@route.command("explain")
def explain(
    text: Annotated[str, typer.Argument(help="A prompt.")],
    config: Annotated[Path, typer.Option(help="The file whose tiers are meant.")] = DEFAULT,
) -> None:
    """Score one prompt and name its tier."""
    loaded = _loaded(config)
    try:
        (score,) = _scored(loaded, [text])
    except ModelError as error:
        output.fail(str(error))
    tier = tier_for(score, loaded.policy.tiers)
    output.line(f"{tier}: score {score:.4f}, which reaches {loaded.policy.tiers[tier].min_complexity:g}")


def prompts(path: Path) -> list[str]:
    """The prompts of a sample: of a chat or batch line its last user message. Raises ValueError naming the line."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            text = _prompt(json.loads(line))
        except ValueError:
            text = None
        if not isinstance(text, str):
            msg = (
                f'{path}, line {number}: want JSON: a string, {{"prompt": "..."}}, {{"messages": [...]}} or a batch '
                'line {"body": {"messages": [...]}}'
            )
            raise ValueError(msg)  # noqa: TRY004 - of the file's text, not of an argument's type
        found.append(text)
    return found


def _prompt(row: Any) -> Any:
    if not isinstance(row, dict):
        return row
    row = row["body"] if isinstance(row.get("body"), dict) else row
    if not isinstance(row.get("messages"), list):
        return row.get("prompt") or row.get("input")
    said = (m.get("content") for m in reversed(row["messages"]) if isinstance(m, dict) and m.get("role") == "user")
    content = next(said, "")
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content


def _scored(config: Config, texts: list[str]) -> list[float]:
    """The scores, by the config's own models."""
    from app.runtime.wiring import inline

    async def work() -> list[float]:
        encoder, head = inline(config.graph, "encoder"), inline(config.graph, "complexity")
        found = []
        for at in range(0, len(texts), 32):
            part = texts[at : at + 32]
            vectors = await encoder.encode(part)
            found += [await head.score(text, vector) for text, vector in zip(part, vectors, strict=True)]
        return found

    return asyncio.run(work())


def _audited(ctx: CommandContext, since: str) -> Iterator[float]:
    """The scores of past `auto` calls, newest first: numbers only, no text is kept for this."""
    before: float | None = None
    after = output.when(since, ago=True)
    while True:
        page = ctx.api.get("/audit", kind="call", limit=PAGE, after=after, before=before)["data"]
        for record in page:
            score = json.loads(record["data"]).get("trail", {}).get("route", {}).get("score")
            if score is not None:
                yield float(score)
        if len(page) < PAGE:
            return
        before = page[-1]["at"]


def _shares(text: str, names: list[str]) -> list[float]:
    """`90,7,3` as parts of 1. Raises ValueError."""
    try:
        given = [float(part) for part in text.split(",")]
    except ValueError:
        given = []
    if len(given) != len(names) or min(given, default=-1) < 0 or abs(sum(given) - 100) > 0.5:
        msg = f"--share {text}: give one percentage for each of {', '.join(names)}, 100 in all"
        raise ValueError(msg)
    return [part / sum(given) for part in given]


def _print(names: list[str], found: Iterable[Cut], config: Config, count: int) -> None:
    rows = []
    for name, cut in zip(names, found, strict=True):
        error = 1.96 * math.sqrt(cut.got * (1 - cut.got) / count)
        was = config.policy.tiers[name].min_complexity
        rows.append((name, f"{was:g}", f"{cut.min_complexity:g}", f"{cut.wanted:.1%}", f"{cut.got:.1%} ± {error:.1%}"))
    output.table(("tier", "min_complexity was", "min_complexity", "wanted", "of the sample"), rows)
    output.line(f"{count} scores{': few; a share of some percent needs more' if count < FEW else ''}")


def _json(cut: Cut) -> dict[str, float]:
    return {"min_complexity": cut.min_complexity, "wanted": round(cut.wanted, 4), "got": round(cut.got, 4)}


def _loaded(file: Path) -> Config:
    try:
        return load_file(file)
    except ConfigError as error:
        output.fail(str(error))


def rewrite(file: Path, above: dict[str, float]) -> None:
    """Change only the numbers behind `min_complexity:` of these tiers; comments and layout stay. Raises ConfigError."""
    text = file.read_text(encoding="utf-8")
    places = dict(_places(yaml.compose(text, yaml.SafeLoader)))
    if missing := sorted(set(above) - set(places)):
        msg = f"{file}: no `min_complexity` written out for {', '.join(missing)}: set it by hand"
        raise ConfigError(msg)
    for name in sorted(above, key=lambda name: -places[name][0]):
        start, end = places[name]
        text = f"{text[:start]}{above[name]:g}{text[end:]}"
    target = file.resolve()  # the default config is a link
    partial = target.with_name(f".{target.name}.new")
    partial.write_text(text, encoding="utf-8")
    partial.replace(target)


def _places(node: yaml.Node | None) -> Iterator[tuple[str, tuple[int, int]]]:
    """Tier -> where in the text the number behind its `min_complexity` stands."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _places(item)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == "tiers" and isinstance(value, yaml.MappingNode):
                for name, tier in value.value:
                    for field, number in tier.value if isinstance(tier, yaml.MappingNode) else ():
                        if field.value == "min_complexity":
                            yield name.value, (number.start_mark.index, number.end_mark.index)
            else:
                yield from _places(value)
