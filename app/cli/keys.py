"""`penstock keys`: a key is printed alone and once, so that a script can take it. main -> [keys] -> admin."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli import output
from app.cli.admin import Change, CommandContext, command, said
from app.cli.client import AdminError

keys = typer.Typer(no_args_is_help=True, help="API keys.")
Key = Annotated[str, typer.Argument(help="The id that `penstock keys list` shows.")]
Name = Annotated[str | None, typer.Option(help="What people call it.")]
Scopes = Annotated[str | None, typer.Option(help="What it may do, e.g. chat,models; default: all.")]
Expires = Annotated[str | None, typer.Option(help="When it dies: 2027-01-31 or 90d from now.")]


@command(keys, "create", terms=True)
def create_key(
    ctx: CommandContext,
    terms: Change,
    tenant: Annotated[str, typer.Argument(help="Who pays. Made when it does not exist.")],
    *,
    project: Annotated[str | None, typer.Option(help="Of which project of the tenant's.")] = None,
    name: Name = None,
    scopes: Scopes = None,
    expires: Expires = None,
) -> None:
    """Make a key for TENANT. It is printed now and never again."""
    about = said(project=project, name=name, scopes=_words(scopes), expires_at=output.when(expires, ago=False))
    try:
        ctx.api.send("POST", "/tenants", {"id": tenant})
    except AdminError as error:
        if error.code != "conflict":
            raise
    made = ctx.api.send("POST", "/keys", {"tenant": tenant, "terms": terms({}), **about})
    ctx.told(made, made["key"])


@command(keys, "list")
def list_keys(
    ctx: CommandContext, tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None
) -> None:
    """List keys by their prefix."""
    ctx.listed(
        ctx.api.each("/keys", tenant=tenant),
        ("id", "of", "name", "key", "scopes", "terms", "state"),
        lambda one: (
            one["id"], "/".join(filter(None, (one["tenant"], one["project"]))), one["name"], one["prefix"],
            ",".join(one["scopes"]) or "all", output.terms(one["terms"]), _state(one),
        ),
    )  # fmt: skip


@command(keys, "update", terms=True)
def update_key(
    ctx: CommandContext, terms: Change, key: Key, *, name: Name = None, scopes: Scopes = None, expires: Expires = None
) -> None:
    """Change a key's name, scopes, terms or expiry."""
    was = ctx.api.get(f"/keys/{key}")["terms"]
    asked = terms(was)
    changes = said(name=name, scopes=_words(scopes), expires_at=output.when(expires, ago=False))
    done = ctx.api.send("PATCH", f"/keys/{key}", changes | ({"terms": asked} if asked != was else {}))
    ctx.told(done, f"{key}: {done['state']} {output.terms(done['terms'])}")


@command(keys, "rotate")
def rotate_key(
    ctx: CommandContext,
    key: Key,
    overlap: Annotated[str, typer.Option(help="For how long the old key still works, e.g. 24h.")] = "0s",
) -> None:
    """Make a new key in the place of one. It is printed now and never again."""
    made = ctx.api.send("POST", f"/keys/{key}/rotate", {"overlap_seconds": output.seconds(overlap)})
    ctx.told(made, made["key"])


@command(keys, "disable")
def disable_key(ctx: CommandContext, key: Key) -> None:
    """Stop a key for good, everywhere within a second."""
    done = ctx.api.send("POST", f"/keys/{key}/disable")
    ctx.told(done, f"{key}: {done['state']}")


@command(keys, "reinstate")
def reinstate_key(ctx: CommandContext, key: Key) -> None:
    """Lift a key's suspension or throttle and forgive its strikes."""
    done = ctx.api.send("POST", f"/keys/{key}/reinstate")
    ctx.told(done, f"{key}: {done['state']}")


def _words(scopes: str | None) -> list[str] | None:
    return None if scopes is None else [word.strip() for word in scopes.split(",") if word.strip()]


def _state(key: dict[str, Any]) -> str:
    """With its end, where it has one."""
    end = output.moment(key["expires_at"] or key["throttled_until"])
    return f"{key['state']} until {end}" if end and key["state"] in {"live", "throttled"} else str(key["state"])
