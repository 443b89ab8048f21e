"""`penstock ...`: check and draw configs, prepare models, run the business, talk to a running graph.

`penstock serve` is added where Ray may be imported (graphs/cli.py).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.tree import Tree

from app.cli import audit, batch, billing, cache, keys, planner, route, tenants
from app.cli.admin import DEFAULT, EXAMPLES, command
from app.cli.output import err, fail, out
from app.config import Config, ConfigError, Graph, Policy, VllmPool, load_file
from app.config.renamed import migrate

__all__ = ["DEFAULT", "File", "app", "fail", "loaded", "prepare"]

app = typer.Typer(no_args_is_help=True, add_completion=False, help="A GenAI API you run yourself.")
config_app = typer.Typer(no_args_is_help=True, help="Check and explain config files.")
models_app = typer.Typer(no_args_is_help=True, help="The bundled models.")
for name, group in {
    "config": config_app,
    "models": models_app,
    "plans": tenants.plans,
    "tenants": tenants.tenants,
    "projects": tenants.projects,
    "keys": keys.keys,
    "budget": billing.budget,
    "audit": audit.audit,
    "webhooks": audit.webhooks,
    "batch": batch.batch,
    "cache": cache.cache,
    "route": route.route,
}.items():
    app.add_typer(group, name=name)
command(app, "usage")(billing.usage)
command(app, "invoice")(billing.invoice)
app.command("plan")(planner.plan)
app.command("profile")(planner.profile)

File = Annotated[Path, typer.Argument(help="A Serve config file that holds a Penstock application.")]


def loaded(file: Path) -> Config:
    """The file's config; leaves with its faults when it has any."""
    try:
        return load_file(file)
    except ConfigError as error:
        fail(str(error))


@config_app.command("check")
def config_check(file: File = DEFAULT) -> None:
    """Validate FILE without starting anything. Exits with 2 and one line a fault."""
    config = loaded(file)
    stages, pools, tiers = config.policy.stages, config.graph.pools, config.policy.tiers
    out.print(f"{file}: good. {len(stages)} stages, {len(tiers)} tiers, {len(pools)} pools.")


@config_app.command("schema")
def config_schema() -> None:
    """Print every key with its type, default and meaning, as JSON Schema."""
    schema = {"args": Graph.model_json_schema(), "user_config": Policy.model_json_schema()}
    sys.stdout.write(json.dumps(schema, indent=2) + "\n")


@config_app.command("migrate")
def config_migrate(file: File = DEFAULT) -> None:
    """Rewrite the keys of FILE that have a new name; comments and layout stay."""
    try:
        text, renamed = migrate(file.read_text(encoding="utf-8"))
        if renamed:
            file.write_text(text, encoding="utf-8")
    except (OSError, ConfigError) as error:
        fail(f"{file}: {error}")
    for line in renamed or ["nothing to rename"]:
        out.print(escape(line))


@config_app.command("example")
def config_example(name: Annotated[str, typer.Argument(help="local, gpu or disaggregated.")] = "local") -> None:
    """Print a config file to start from: `penstock config example > serve_config.yaml`."""
    names = sorted(file.stem for file in EXAMPLES.glob("*.yaml"))
    if name not in names:
        fail(f"no example `{name}`: choose from {', '.join(names)}")
    sys.stdout.write((EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8"))


@app.command()
def graph(
    file: File = DEFAULT, *, mermaid: Annotated[bool, typer.Option(help="Print Mermaid for documents.")] = False
) -> None:
    """Draw the configured graph."""
    from app.cli.diagram import lines
    from app.cli.diagram import mermaid as as_mermaid

    config = loaded(file)
    if mermaid:
        sys.stdout.write(as_mermaid(config))
        return
    stack: list[Tree] = []
    for depth, text in lines(config):
        if depth == 0:
            if stack:
                out.print(stack[0])
            stack = [Tree(f"[bold]{text}[/]")]
        else:
            stack = [*stack[:depth], stack[depth - 1].add(escape(text))]
    out.print(stack[0])


def sources(config: Config) -> list[str]:
    """Every model the config names, bundled or not."""
    named = [port.options["model"] for port in config.graph.ports.values() if "model" in port.options]
    named += [port.options["names"] for port in config.graph.ports.values() if port.options.get("names")]
    named += [pool.source for pool in config.graph.pools.values() if isinstance(pool, VllmPool)]
    return list(dict.fromkeys([*named, *([config.graph.tokenizer] if config.graph.tokenizer else [])]))


@models_app.command("prepare")
def models_prepare(file: File = DEFAULT) -> None:
    """Convert the bundled models that FILE uses into the cache, once. Safe to interrupt and repeat."""
    prepare(loaded(file))


def prepare(config: Config) -> None:
    """Prepare every bundled model with a progress bar each; leaves with the fault and its fix."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from app.models.errors import ModelError
    from app.runtime.prepare import prepare as prepare_models

    columns = (
        TextColumn("{task.fields[name]:<22}"),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=False) as progress:
        tasks: dict[str, Any] = {}

        def report(name: str, fraction: float, what: str) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(what, name=name, total=1.0)
            progress.update(tasks[name], completed=fraction, description=what)

        try:
            prepare_models([s for s in sources(config) if s.startswith("bundled:")], report)
        except ModelError as error:
            progress.stop()
            fail(str(error))


@app.command()
def chat(
    url: Annotated[str, typer.Option(help="Where the graph serves.")] = "http://127.0.0.1:8000",
    key: Annotated[str | None, typer.Option(envvar="PENSTOCK_KEY", help="Default: the development key.")] = None,
    model: Annotated[str, typer.Option(help="auto, a tier, or a model id.")] = "auto",
) -> None:
    """Talk to a running graph, and see after each answer what happened to the call."""
    from app.cli.chat import talk
    from app.installation.paths import development_key

    try:
        talk(out, url, key or development_key(), model)
    except (KeyboardInterrupt, EOFError):
        out.print()
