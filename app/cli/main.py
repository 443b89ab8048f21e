"""`penstock ...`: check and draw configs, prepare models, manage keys, talk to a running graph.

`penstock serve` is added where Ray may be imported (graphs/cli.py).
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from app.config import Config, ConfigError, Graph, Policy, VllmPool, load_file

app = typer.Typer(no_args_is_help=True, add_completion=False, help="A GenAI API you run yourself.")
config_app = typer.Typer(no_args_is_help=True, help="Check and explain config files.")
models_app = typer.Typer(no_args_is_help=True, help="The bundled models.")
keys_app = typer.Typer(no_args_is_help=True, help="API keys.")
app.add_typer(config_app, name="config")
app.add_typer(models_app, name="models")
app.add_typer(keys_app, name="keys")

out = Console()
err = Console(stderr=True)
File = Annotated[Path, typer.Argument(help="A Serve config file that holds a Penstock application.")]
DEFAULT = Path("serve_config.yaml")


def fail(message: str, code: int = 2) -> NoReturn:
    """Say what is wrong and leave."""
    for line in message.splitlines():
        err.print(f"[red]error[/] {line}", highlight=False, soft_wrap=True)
    raise typer.Exit(code)


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
    rooms, pools, tiers = config.policy.rooms, config.graph.pools, config.policy.tiers
    out.print(f"{file}: good. {len(rooms)} rooms, {len(tiers)} tiers, {len(pools)} pools.")


@config_app.command("schema")
def config_schema() -> None:
    """Print every key with its type, default and meaning, as JSON Schema."""
    schema = {"args": Graph.model_json_schema(), "user_config": Policy.model_json_schema()}
    sys.stdout.write(json.dumps(schema, indent=2) + "\n")


@app.command()
def graph(
    file: File = DEFAULT, *, mermaid: Annotated[bool, typer.Option(help="Print Mermaid for documents.")] = False
) -> None:
    """Draw the configured graph."""
    from app.diagram import lines
    from app.diagram import mermaid as as_mermaid

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
    named += [pool.source for pool in config.graph.pools.values() if isinstance(pool, VllmPool)]
    return list(dict.fromkeys([*named, *([config.graph.tokenizer] if config.graph.tokenizer else [])]))


@models_app.command("prepare")
def models_prepare(file: File = DEFAULT) -> None:
    """Convert the bundled models that FILE uses into the cache, once. Safe to interrupt and repeat."""
    prepare(loaded(file))


def prepare(config: Config) -> None:
    """Prepare every bundled model with a progress bar each; leaves with the fault and its fix."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from app.models import ModelError
    from app.models import prepare as prepare_models

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


def with_ledger(config: Config, use: Any) -> Any:
    """Run `use(ledger)` on the config's ledger; leaves with the fault when the database cannot be used."""
    from app.adapters.sql.ledger import LedgerError, SqlLedger
    from app.state import StateError, database_url

    async def work() -> Any:
        ledger = SqlLedger(database_url(config.graph.state.database))
        try:
            return await use(ledger)
        finally:
            await ledger.close()

    try:
        return asyncio.run(work())
    except (LedgerError, StateError) as error:
        fail(str(error))


@keys_app.command("create")
def keys_create(
    tenant: Annotated[str, typer.Argument(help="Who pays. Made when it does not exist.")],
    file: Annotated[Path, typer.Option("--config", help="Which config's ledger.")] = DEFAULT,
    rpm: Annotated[int, typer.Option(help="Requests a minute; 0 is unlimited.")] = 0,
    tpm: Annotated[int, typer.Option(help="Tokens a minute; 0 is unlimited.")] = 0,
) -> None:
    """Make a key for TENANT. It is printed now and never again."""
    from app.adapters.sql.ledger import Terms

    async def make(ledger: Any) -> str:
        await ledger.ensure_tenant(tenant)
        return str(await ledger.create_key(tenant, Terms(requests_per_minute=rpm, tokens_per_minute=tpm)))

    sys.stdout.write(with_ledger(loaded(file), make) + "\n")


@keys_app.command("list")
def keys_list(file: Annotated[Path, typer.Option("--config")] = DEFAULT) -> None:
    """List keys by their prefix."""
    table = Table("id", "tenant", "key", "requests/min", "tokens/min", "state")
    for key in with_ledger(loaded(file), lambda ledger: ledger.keys()):
        terms = key.terms
        state = "disabled" if key.disabled else "live"
        table.add_row(
            key.id,
            key.tenant,
            key.prefix,
            str(terms.requests_per_minute or "-"),
            str(terms.tokens_per_minute or "-"),
            state,
        )
    out.print(table)


@keys_app.command("disable")
def keys_disable(
    key_id: Annotated[str, typer.Argument(help="The id that `penstock keys list` shows.")],
    file: Annotated[Path, typer.Option("--config")] = DEFAULT,
) -> None:
    """Stop a key, everywhere within a second."""
    with_ledger(loaded(file), lambda ledger: ledger.disable_key(key_id))


@app.command()
def usage(
    file: Annotated[Path, typer.Option("--config")] = DEFAULT,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    limit: Annotated[int, typer.Option(help="How many calls, newest first.")] = 20,
) -> None:
    """Show the last calls as they were billed."""
    table = Table("call", "tenant", "tier", "pool", "outcome", "in", "cached", "out", "cost", "ttft ms", "ms")
    for row in with_ledger(loaded(file), lambda ledger: ledger.usage(tenant, limit)):
        counts = (str(row.prompt_tokens), str(row.cached_tokens), str(row.completion_tokens))
        ttft = "-" if row.ttft is None else f"{row.ttft * 1000:.0f}"
        table.add_row(
            row.id, row.tenant, row.tier or "-", row.pool or "-", row.outcome, *counts,
            f"{row.cost:.9f}", ttft, f"{row.latency * 1000:.0f}",
        )  # fmt: skip
    out.print(table)


@app.command()
def chat(
    url: Annotated[str, typer.Option(help="Where the graph serves.")] = "http://127.0.0.1:8000",
    key: Annotated[str | None, typer.Option(envvar="PENSTOCK_KEY", help="Default: the development key.")] = None,
    model: Annotated[str, typer.Option(help="auto, a tier, or a model id.")] = "auto",
) -> None:
    """Talk to a running graph, and see after each answer what happened to the call."""
    from app.cli.chat import talk
    from app.state import development_key

    try:
        talk(out, url, key or development_key(), model)
    except (KeyboardInterrupt, EOFError):
        out.print()
