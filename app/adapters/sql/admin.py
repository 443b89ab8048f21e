"""Tenants, keys and usage as the operator sees them. CLI, start-up -> ledger -> [admin] -> SQL.

Every function takes the Connection of a transaction that its caller runs.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Connection, RowMapping, insert, select, update

from app.adapters.sql.errors import LedgerError
from app.adapters.sql.schema import from_nano, keys, tenants, to_nano, usage
from app.adapters.sql.statements import MAKE_TENANT
from app.ports import Principal, UsageRow

_SHOWN = 7  # characters of a key that tell it from others without giving it away
_LONG = 24  # a key of at least this length may show them


@dataclass(frozen=True, slots=True)
class Terms:
    """What a key may do. Limits per minute, 0 for unlimited. expires: Unix seconds."""

    scopes: frozenset[str] = frozenset()
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who pays. Money in the price list's currency; budget None: no budget."""

    id: str
    name: str
    budget: Decimal | None
    spent: Decimal
    reserved: Decimal


@dataclass(frozen=True, slots=True)
class Key:
    """A key without the key. prefix: its first characters, to tell it by. Times in Unix seconds."""

    id: str
    tenant: str
    prefix: str
    terms: Terms
    disabled: bool
    created: float


@dataclass(frozen=True, slots=True)
class Found:
    """A key's owner, and until when the key lives."""

    who: Principal
    expires: float | None


def digest(key: str) -> str:
    """Return the hash that stands for the key. Keys are random, so a plain sha256 cannot be turned back."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def look_up(connection: Connection, hashes: Sequence[str]) -> dict[str, Found]:
    """Return, by hash, the keys that are not disabled."""
    query = select(keys).where(keys.c.hash.in_(hashes), keys.c.disabled.is_(False))
    return {
        row.hash: Found(Principal(row.tenant, row.id, frozenset(row.scopes.split()), row.rpm, row.tpm), row.expires)
        for row in connection.execute(query)
    }


def ensure_tenant(connection: Connection, tenant: str, name: str, budget: Decimal | None) -> None:
    """Create the tenant; one that exists stays as it is."""
    nano = None if budget is None else to_nano(budget)
    values = {"id": tenant, "name": name, "budget": nano, "spent": 0, "reserved": 0}
    connection.execute(MAKE_TENANT[connection.dialect.name], values)


def set_budget(connection: Connection, tenant: str, budget: Decimal | None) -> None:
    """Change the tenant's budget. Raises LedgerError when there is no such tenant."""
    nano = None if budget is None else to_nano(budget)
    if not connection.execute(update(tenants).where(tenants.c.id == tenant).values(budget=nano)).rowcount:
        raise _no_tenant(tenant)


def create_key(connection: Connection, tenant: str, terms: Terms, now: float) -> str:
    """Return a new key of the tenant's, never to be read again. Raises LedgerError when there is no such tenant."""
    key = f"sk-{secrets.token_urlsafe(32)}"
    _insert(connection, key, tenant, terms, now)
    return key


def ensure_key(connection: Connection, key: str, tenant: str, terms: Terms, now: float) -> None:
    """Make this very key live under these terms. One that was disabled stays so.

    Raises LedgerError when there is no such tenant, or the key is another's.
    """
    row = connection.execute(select(keys.c.id, keys.c.tenant).where(keys.c.hash == digest(key))).first()
    if row is None:
        _insert(connection, key, tenant, terms, now)
        return
    if row.tenant != tenant:
        msg = f"The key {_prefix(key)} belongs to tenant `{row.tenant}`, not `{tenant}`: choose another key."
        raise LedgerError(msg)
    connection.execute(update(keys).where(keys.c.id == row.id).values(_columns(terms)))


def disable_key(connection: Connection, key_id: str) -> None:
    """Stop the key for good. Raises LedgerError when there is no such key."""
    if not connection.execute(update(keys).where(keys.c.id == key_id).values(disabled=True)).rowcount:
        msg = f"There is no key `{key_id}`: list the keys to see their ids."
        raise LedgerError(msg)


def list_keys(connection: Connection, tenant: str | None) -> list[Key]:
    """Return the keys, oldest first, of one tenant or all."""
    query = select(keys).order_by(keys.c.created, keys.c.id)
    rows = connection.execute(query if tenant is None else query.where(keys.c.tenant == tenant))
    return [
        Key(
            row.id,
            row.tenant,
            row.prefix,
            Terms(frozenset(row.scopes.split()), row.rpm, row.tpm, row.expires),
            row.disabled,
            row.created,
        )
        for row in rows
    ]


def list_tenants(connection: Connection) -> list[Tenant]:
    """Return every tenant, by id."""
    return [
        Tenant(
            row.id,
            row.name,
            None if row.budget is None else from_nano(row.budget),
            from_nano(row.spent),
            from_nano(row.reserved),
        )
        for row in connection.execute(select(tenants).order_by(tenants.c.id))
    ]


def list_usage(connection: Connection, tenant: str | None, limit: int) -> list[UsageRow]:
    """Return the last `limit` calls, newest first, of one tenant or all."""
    query = select(usage).order_by(usage.c.created.desc(), usage.c.id).limit(limit)
    rows = connection.execute(query if tenant is None else query.where(usage.c.tenant == tenant)).mappings()
    return [_usage(row) for row in rows]


def _usage(row: RowMapping) -> UsageRow:
    return UsageRow(**{**row, "cost": from_nano(row["cost"])})


def _insert(connection: Connection, key: str, tenant: str, terms: Terms, now: float) -> None:
    if connection.execute(select(tenants.c.id).where(tenants.c.id == tenant)).first() is None:
        raise _no_tenant(tenant)
    made = {"id": f"key_{secrets.token_hex(8)}", "tenant": tenant, "hash": digest(key), "prefix": _prefix(key)}
    connection.execute(insert(keys).values({**made, **_columns(terms), "disabled": False, "created": now}))


def _columns(terms: Terms) -> dict[str, object]:
    return {
        "scopes": _words(terms.scopes),
        "rpm": terms.requests_per_minute,
        "tpm": terms.tokens_per_minute,
        "expires": terms.expires,
    }


def _words(scopes: Iterable[str]) -> str:
    return " ".join(sorted(scopes))


def _prefix(key: str) -> str:
    return f"{key[:_SHOWN] if len(key) >= _LONG else key[:3]}..."


def _no_tenant(tenant: str) -> LedgerError:
    return LedgerError(f"There is no tenant `{tenant}`: create it first.")
