"""`penstock cache`. main -> [cache] -> admin."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.admin import CommandContext, command

cache = typer.Typer(no_args_is_help=True, help="The semantic cache of a running graph.")
UNSAVED = "Its store fails: what was forgotten leaves it only when it works again. See the graph's log."


@command(cache, "show")
def show_cache(ctx: CommandContext) -> None:
    """Show how many answers each tenant has in the cache, and their memory."""
    held = ctx.api.get("/cache")
    if ctx.as_json:
        ctx.told(held, "")
        return
    ctx.listed(
        held["tenants"], ("tenant", "entries", "MiB"), lambda one: (one["tenant"], one["entries"], _mib(one["bytes"]))
    )
    kept = {None: "in memory only", True: "saved", False: "NOT SAVED: its store fails, see the graph's log"}
    ctx.told(held, f"{kept[held['saving']]}; {held['evicted']} made room since the start")


@command(cache, "forget")
def forget(
    ctx: CommandContext,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    model: Annotated[str | None, typer.Option(help="Only answers to calls for this model or tier.")] = None,
    version: Annotated[str | None, typer.Option(help="Only answers under this prompt version.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Empty it.")] = False,
) -> None:
    """Drop answers from the cache, so that they are generated anew."""
    which = {"tenant": tenant, "model": model, "version": version, "all": "true" if everything else None}
    done = ctx.api.delete("/cache", **which)
    ctx.told(done, f"{done['entries']} forgotten" + (f". {UNSAVED}" if done["saving"] is False else ""))


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f}"
