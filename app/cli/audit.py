"""`penstock audit | webhooks`. main -> [audit] -> admin."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from app.cli import output
from app.cli.admin import CommandContext, command, said

audit = typer.Typer(no_args_is_help=True, help="The audit chains: one of each tenant, one of the operator.")
webhooks = typer.Typer(no_args_is_help=True, help="Who is told of budgets, pauses and suspensions.")
Chain = Annotated[str | None, typer.Option(help="A tenant's id, or _operator; default: all.")]
Format = Annotated[Literal["jsonl", "parquet"], typer.Option("--format", help="Of the files.")]
Since = Annotated[str | None, typer.Option(help="From 2026-01-31 or 7d ago.")]
Until = Annotated[str | None, typer.Option(help="Before 2026-02-28 or 1d ago.")]


@command(audit, "list")
def list_records(
    ctx: CommandContext,
    *,
    chain: Chain = None,
    kind: Annotated[str | None, typer.Option(help="Like call or key.create.")] = None,
    subject: Annotated[str | None, typer.Option(help="A call's, key's or account's id.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 50,
) -> None:
    """List audit records."""
    span = {"after": output.when(since, ago=True), "before": output.when(until, ago=True)}
    found = ctx.api.get("/audit", chain=chain, kind=kind, subject=subject, limit=limit, **span)["data"]
    ctx.listed(
        found,
        ("chain", "seq", "at", "kind", "actor", "subject", "data"),
        lambda one: (
            one["chain"], one["seq"], output.moment(one["at"]), one["kind"], one["actor"], one["subject"], one["data"],
        ),
    )  # fmt: skip


@command(audit, "verify")
def verify(ctx: CommandContext, chain: Chain = None) -> None:
    """Check every record, usage row and account. Exits with 1, a line a fault, where something was changed."""
    _verified(ctx, ctx.api.get("/audit/verify", chain=chain))


@command(audit, "export")
def export(
    ctx: CommandContext,
    to: Annotated[str, typer.Argument(help="A new folder's URL: a path, s3://...; with --url, as the server sees it.")],
    *,
    form: Format = "jsonl",
    chain: Chain = None,
    since: Since = None,
    until: Until = None,
) -> None:
    """Copy records out, with a manifest that proves them without the database."""
    span = said(after=output.when(since, ago=True), before=output.when(until, ago=True), chain=chain)
    done = ctx.api.send("POST", "/audit/export", {"to": to, "format": form, **span})
    ctx.told(done, f"{to}: {done['records']} records in {done['files']} files")


@command(audit, "verify-export")
def verify_export(
    ctx: CommandContext, folder: Annotated[str, typer.Argument(help="The folder that was exported to.")]
) -> None:
    """Check an export. Exits with 1, a line a fault, where something was changed."""
    _verified(ctx, ctx.api.send("POST", "/audit/verify-export", {"url": folder}))


@command(audit, "prune")
def prune(
    ctx: CommandContext,
    to: Annotated[str, typer.Argument(help="Where what is taken out is kept: a path, s3://...")],
    form: Format = "jsonl",
) -> None:
    """Export, then take out, the records that are older than their tenant's retention."""
    done = ctx.api.send("POST", "/audit/prune", {"to": to, "format": form})
    ctx.told(done, f"{done['records']} records of {len(done['chains'])} chains went to {to}")


@command(audit, "content")
def show_content(ctx: CommandContext, call: Annotated[str, typer.Argument(help="A call's id.")]) -> None:
    """Print what was said in a call, where its tenant keeps that. The reading itself is recorded."""
    output.line(ctx.api.text(f"/contents/{call}"))


# -- webhooks --------------------------------------------------------------------------------------


@command(webhooks, "list")
def list_webhooks(ctx: CommandContext) -> None:
    """List the webhooks."""
    ctx.listed(
        ctx.api.get("/webhooks")["data"],
        ("id", "tenant", "url", "events"),
        lambda one: (one["id"], one["tenant"] or "all", one["url"], ",".join(one["events"]) or "all"),
    )


@command(webhooks, "add")
def add_webhook(
    ctx: CommandContext,
    to: Annotated[str, typer.Argument(help="Where to POST.")],
    tenant: Annotated[str | None, typer.Option(help="Only of this tenant; default: of all.")] = None,
    events: Annotated[
        str | None, typer.Option(help="Kinds, like budget.threshold,tenant.paused; default: all.")
    ] = None,
) -> None:
    """Add a webhook. What its deliveries are signed with is printed now and never again."""
    kinds = None if events is None else [word.strip() for word in events.split(",")]
    made = ctx.api.send("POST", "/webhooks", {"url": to, **said(tenant=tenant, events=kinds)})
    ctx.told(made, f"{made['id']}\n{made['secret']}")


@command(webhooks, "rotate")
def rotate_webhook(ctx: CommandContext, webhook: Annotated[str, typer.Argument(help="Its id.")]) -> None:
    """Print a new secret; the old one signs beside it for a day."""
    made = ctx.api.send("POST", f"/webhooks/{webhook}/rotate")
    ctx.told(made, made["secret"])


@command(webhooks, "remove")
def remove_webhook(ctx: CommandContext, webhook: Annotated[str, typer.Argument(help="Its id.")]) -> None:
    """Send a webhook nothing more."""
    ctx.told(ctx.api.send("DELETE", f"/webhooks/{webhook}"), f"{webhook}: removed")


@command(webhooks, "notices")
def list_notices(
    ctx: CommandContext,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 20,
) -> None:
    """List what was told, and whether it arrived."""
    ctx.listed(
        ctx.api.get("/notices", tenant=tenant, limit=limit)["data"],
        ("at", "kind", "tenant", "data", "deliveries"),
        lambda one: (output.moment(one["created_at"]), one["kind"], one["tenant"], one["data"], _deliveries(one)),
    )


def _deliveries(notice: dict[str, Any]) -> str:
    return ", ".join(
        f"{one['webhook']}: {'delivered' if one['delivered_at'] else one['error'] or 'waiting'}"
        for one in notice["deliveries"]
    )


def _verified(ctx: CommandContext, done: dict[str, Any]) -> None:
    if ctx.as_json:
        output.as_json(done)
    else:
        for fault in done["faults"]:
            place = fault["chain"] if fault["seq"] is None else f"{fault['chain']} {fault['seq']}"
            output.line(f"{place}: {fault['what']}")
        more = f" (first {len(done['faults'])} shown)" if done["more_faults"] else ""
        faults = f"{len(done['faults']) + done['more_faults']} faults{more}"
        output.line(f"{done['records']} records of {done['chains']} chains: {'whole' if done['ok'] else faults}")
    if not done["ok"]:
        raise typer.Exit(1)
