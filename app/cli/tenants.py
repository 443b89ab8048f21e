"""`penstock plans | tenants | projects`. main -> [tenants] -> admin."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli import output
from app.cli.admin import Change, CommandContext, command, said

Tenant = Annotated[str, typer.Argument(help="The id that `penstock tenants list` shows.")]
Project = Annotated[str, typer.Argument(help="The id that `penstock projects list` shows.")]
Of = Annotated[str | None, typer.Option("--tenant", help="Only this tenant's.")]
Name = Annotated[str | None, typer.Option(help="What people call it.")]

plans = typer.Typer(no_args_is_help=True, help="Terms that many tenants share.")
tenants = typer.Typer(no_args_is_help=True, help="Who pays.")
projects = typer.Typer(no_args_is_help=True, help="Parts of a tenant with terms and a budget of their own.")


@command(plans, "list")
def list_plans(ctx: CommandContext) -> None:
    """List the plans."""
    found = ctx.api.get("/plans")["data"]
    ctx.listed(found, ("plan", "terms"), lambda one: (one["id"], output.terms(one["terms"])))


@command(plans, "set", terms=True)
def set_plan(ctx: CommandContext, terms: Change, plan: Annotated[str, typer.Argument(help="Its name.")]) -> None:
    """Make a plan, or change it for every tenant that has it."""
    was = {one["id"]: one["terms"] for one in ctx.api.get("/plans")["data"]}
    done = ctx.api.send("PUT", f"/plans/{plan}", {"terms": terms(was.get(plan, {}))})
    ctx.told(done, f"{plan}: {output.terms(done['terms'])}")


# -- tenants ---------------------------------------------------------------------------------------


@command(tenants, "list")
def list_tenants(ctx: CommandContext) -> None:
    """List the tenants."""
    columns = ("tenant", "name", "plan", "own terms", "state", "content kept")
    ctx.listed(
        ctx.api.each("/tenants"),
        columns,
        lambda one: (
            one["id"],
            one["name"],
            one["plan"],
            output.terms(one["terms"]),
            _state(one),
            one["keeps_content"],
        ),
    )


@command(tenants, "show")
def show_tenant(ctx: CommandContext, tenant: Tenant) -> None:
    """Show all that is known of a tenant, as JSON."""
    output.as_json(ctx.api.get(f"/tenants/{tenant}"))


@command(tenants, "create", terms=True)
def create_tenant(
    ctx: CommandContext,
    terms: Change,
    tenant: Annotated[str, typer.Argument(help="Its id.")],
    name: Name = None,
    plan: Annotated[str | None, typer.Option(help="Default: unlimited.")] = None,
) -> None:
    """Make a tenant. Terms given here stand over the plan's."""
    done = ctx.api.send("POST", "/tenants", {"id": tenant, "terms": terms({}), **said(name=name, plan=plan)})
    ctx.told(done, f"{tenant}: {done['plan']}")


@command(tenants, "update", terms=True)
def update_tenant(
    ctx: CommandContext,
    terms: Change,
    tenant: Tenant,
    name: Name = None,
    plan: Annotated[str | None, typer.Option(help="Another plan.")] = None,
) -> None:
    """Change a tenant's name, plan or own terms."""
    was = ctx.api.get(f"/tenants/{tenant}")["terms"]
    changes = said(name=name, plan=plan, terms=_changed(was, terms(was)))
    done = ctx.api.send("PATCH", f"/tenants/{tenant}", changes)
    ctx.told(done, f"{tenant}: {done['plan']} {output.terms(done['terms'])}")


@command(tenants, "pause")
def pause_tenant(
    ctx: CommandContext,
    tenant: Tenant,
    why: Annotated[
        str, typer.Option(help="What its callers are told; it stays in the audit chain.")
    ] = "by the operator",
    span: Annotated[str | None, typer.Option("--for", help="How long, e.g. 1h; default: until it is resumed.")] = None,
) -> None:
    """Let none of a tenant's calls in."""
    until = output.when(span, ago=False)
    done = ctx.api.send("POST", f"/tenants/{tenant}/pause", {"why": why, "until": until})
    ctx.told(done, f"{tenant}: {_state(done)}")


@command(tenants, "resume")
def resume_tenant(ctx: CommandContext, tenant: Tenant) -> None:
    """End a tenant's pause, also one that the spend breaker made."""
    done = ctx.api.send("POST", f"/tenants/{tenant}/resume")
    ctx.told(done, f"{tenant}: {_state(done)}")


@command(tenants, "content")
def keep_content(
    ctx: CommandContext,
    tenant: Tenant,
    *,
    keep: Annotated[bool, typer.Option("--keep/--drop", help="From now on.")] = True,
) -> None:
    """Say whether the texts of a tenant's calls are kept, sealed by its own key."""
    done = ctx.api.send("PUT", f"/tenants/{tenant}/content", {"keep": keep})
    ctx.told(done, f"{tenant}: content {'kept' if done['keeps_content'] else 'not kept'}")


@command(tenants, "erase")
def erase_tenant(
    ctx: CommandContext,
    tenant: Tenant,
    confirm: Annotated[str, typer.Option(prompt="There is no way back. Its id once more", help="Its id once more.")],
) -> None:
    """Destroy a tenant's contents and names and disable its keys. What was billed stays."""
    done = ctx.api.send("POST", f"/tenants/{tenant}/erase", {"confirm": confirm})
    cached = done["cached"]
    counts = f"{done['contents']} contents, {done['keys']} keys, {done['webhooks']} webhooks"
    graph = f"Where a graph runs: `penstock cache forget --tenant {tenant} --url URL`"
    ctx.told(done, f"{tenant}: erased; {counts}" + (f". {graph}" if cached is None else f", {cached} cached answers"))


# -- projects --------------------------------------------------------------------------------------


@command(projects, "list")
def list_projects(ctx: CommandContext, tenant: Of = None) -> None:
    """List the projects."""
    ctx.listed(
        ctx.api.each("/projects", tenant=tenant),
        ("project", "tenant", "name", "terms", "state"),
        lambda one: (
            one["id"], one["tenant"], one["name"], output.terms(one["terms"]),
            "archived" if one["archived"] else "live",
        ),
    )  # fmt: skip


@command(projects, "create", terms=True)
def create_project(
    ctx: CommandContext,
    terms: Change,
    tenant: Tenant,
    project: Annotated[str, typer.Argument(help="Its id, unique over all tenants.")],
    name: Name = None,
) -> None:
    """Make a project of a tenant's."""
    asked = {"tenant": tenant, "id": project, "terms": terms({}), **said(name=name)}
    ctx.told(ctx.api.send("POST", "/projects", asked), f"{project}: of {tenant}")


@command(projects, "update", terms=True)
def update_project(
    ctx: CommandContext,
    terms: Change,
    project: Project,
    name: Name = None,
    archived: Annotated[bool | None, typer.Option("--archive/--restore", help="Whether its keys are dead.")] = None,
) -> None:
    """Change a project's name, terms or state."""
    was = ctx.api.get(f"/projects/{project}")["terms"]
    changes = said(name=name, archived=archived, terms=_changed(was, terms(was)))
    done = ctx.api.send("PATCH", f"/projects/{project}", changes)
    ctx.told(done, f"{project}: {'archived' if done['archived'] else 'live'} {output.terms(done['terms'])}")


def _changed(was: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any] | None:
    return asked if asked != was else None


def _state(tenant: dict[str, Any]) -> str:
    if tenant["erased_at"]:
        return "erased"
    if not tenant["paused"]:
        return "live"
    until = output.moment(tenant["paused_until"])
    return f"paused{f' until {until}' if until else ''}: {tenant['paused_why']}"
