"""`penstock usage | budget | invoice`. main -> [money] -> admin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from app.cli import output
from app.cli.admin import CommandContext, command

By = Literal["tenant", "project", "key", "model", "tier", "pool", "region", "day"]
Of = Annotated[str | None, typer.Option(help="Only this tenant's.")]
budget = typer.Typer(no_args_is_help=True, help="Budgets of tenants, projects and keys.")
_CALL = ("call", "tenant", "tier", "pool", "outcome", "in", "cached", "out", "cost", "ttft ms", "ms")
_SUM = ("calls", "refused", "failed", "hits", "in", "cached", "out", "revenue", "goods", "margin", "margin %")


def usage(
    ctx: CommandContext,
    *,
    by: Annotated[By | None, typer.Option(help="Sum by this; without it, the last calls.")] = None,
    tenant: Of = None,
    since: Annotated[str | None, typer.Option(help="With --by: from 2026-01-31 or 7d ago.")] = None,
    until: Annotated[str | None, typer.Option(help="With --by: before 2026-02-28 or 1d ago.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many calls, newest first.")] = 20,
) -> None:
    """Show the last calls as they were billed, or with --by what was sold, what it cost us and the gross margin."""
    if by is None and (since or until):
        raise typer.BadParameter("--since and --until go with --by")
    if by is None:
        rows = ctx.api.get("/usage", tenant=tenant, limit=limit)["data"]
        return ctx.listed(rows, _CALL, _call)
    span = {"since": output.when(since, ago=True), "until": output.when(until, ago=True)}
    sums = ctx.api.get("/usage/summary", by=by, tenant=tenant, **span)["data"]
    return ctx.listed(sums, (by, *_SUM), _sum)


@command(budget, "list")
def list_budgets(ctx: CommandContext, tenant: Of = None) -> None:
    """List the accounts of tenants, projects and keys."""
    columns = ("account", "tenant", "budget", "period", "spent in it", "reserved", "left", "spent of all time")
    ctx.listed(
        ctx.api.each("/budgets", tenant=tenant),
        columns,
        lambda one: (
            one["id"], one["tenant"], output.money(one["budget"]), one["period"],
            *(output.money(one[name]) for name in ("period_spent", "reserved", "left", "spent")),
        ),
    )  # fmt: skip


@command(budget, "set")
def set_budget(
    ctx: CommandContext,
    account: Annotated[str, typer.Argument(help="tenant:ID, project:ID or key:ID.")],
    amount: Annotated[str, typer.Argument(help="Money in each period, or `none`.")],
    period: Annotated[Literal["total", "month", "day"], typer.Option(help="Months and days are UTC's.")] = "total",
) -> None:
    """Set an account's budget. It is hard: a call whose worst case would pass it is refused."""
    asked = {"budget": None if amount == "none" else amount, "period": period}
    done = ctx.api.send("PUT", f"/budgets/{account}", asked)
    left = output.money(done["left"]) or "no end"
    ctx.told(done, f"{account}: {output.money(done['budget']) or 'no budget'} ({period}), {left} left")


def invoice(
    ctx: CommandContext,
    tenant: Annotated[str, typer.Argument(help="Whose.")],
    month: Annotated[str, typer.Argument(help="UTC month, like 2026-01.")],
    form: Annotated[Literal["json", "csv", "html"], typer.Option("--format", help="As what.")] = "json",
    to: Annotated[Path | None, typer.Option(help="A file; default: print it.")] = None,
) -> None:
    """Draw a tenant's invoice of a month, from what was billed."""
    drawn = ctx.api.text(f"/invoices/{tenant}/{month}", format="json" if ctx.as_json else form)
    if to is None:
        return output.line(drawn)
    try:
        to.write_text(drawn, encoding="utf-8")
    except OSError as error:
        output.fail(f"cannot write {to}: {error.strerror}")
    return output.line(str(to))


def _call(row: dict[str, Any]) -> list[Any]:
    counts = (row["prompt_tokens"], row["cached_tokens"], row["completion_tokens"])
    ttft = None if row["ttft"] is None else f"{row['ttft'] * 1000:.0f}"
    place = (row["id"], row["tenant"], row["tier"], row["pool"], row["outcome"])
    return [*place, *counts, row["cost"], ttft, f"{row['latency'] * 1000:.0f}"]


def _sum(one: dict[str, Any]) -> list[Any]:
    counts = ("group", "calls", "refused", "failed", "hits", "prompt_tokens", "cached_tokens", "completion_tokens")
    share = None if one["margin_share"] is None else f"{float(one['margin_share']) * 100:.1f}"
    return [
        *(one[name] for name in counts),
        *(output.money(one[name]) for name in ("revenue", "goods", "margin")),
        share,
    ]
