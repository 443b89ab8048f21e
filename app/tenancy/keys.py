"""API keys, stored as hashes. admin service -> [keys] -> SQL.

Every function takes a Connection. Those that write lock the tenant's row first, as the ledger's transactions do.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, and_, insert, or_, select, update

from app.billing.ledger import balances
from app.core.refusals import TakenError, UnfitError, UnknownError
from app.core.terms import Terms
from app.db.schema import keys
from app.tenancy import projects, tenants
from app.tenancy.identity import digest
from app.tenancy.model import SCOPES, Key, KeyChanges, stored, terms_of

_SHOWN = 7  # characters of a key that tell it from others without giving it away
_LONG = 24  # a key of at least this length may show them


def generate() -> str:
    """A new key."""
    return f"sk-{secrets.token_urlsafe(32)}"


def make(connection: Connection, key: str, tenant: str, about: KeyChanges, now: float, *, project: str) -> Key:
    """The new row of `key`, with its account. about: what it says from the start.

    Raises UnknownError, UnfitError; TakenError for an erased tenant or an archived project.
    """
    tenants.lock(connection, tenant)
    if project and (found := projects.find(connection, project)).tenant != tenant:
        raise UnfitError(f"The project `{project}` belongs to tenant `{found.tenant}`, not `{tenant}`.")
    if project and found.archived:
        raise TakenError(f"The project `{project}` is archived: choose another, or take it out of the archive.")
    return _insert(connection, key, tenant, about, now, project=project)


def find(connection: Connection, key_id: str) -> Key:
    """The key. Raises UnknownError."""
    row = connection.execute(select(keys).where(keys.c.id == key_id)).first()
    if row is None:
        raise UnknownError(f"There is no key `{key_id}`: list the keys to see their ids.")
    return _key(row)


def listing(connection: Connection, tenant: str | None, limit: int, after: str) -> Sequence[Key]:
    """The keys of one tenant or all, oldest first, those after the key of id `after`."""
    query = select(keys).order_by(keys.c.created, keys.c.id).limit(limit)
    if after:
        last = find(connection, after)
        same = and_(keys.c.created == last.created, keys.c.id > last.id)
        query = query.where(or_(keys.c.created > last.created, same))
    rows = connection.execute(query if tenant is None else query.where(keys.c.tenant == tenant))
    return [_key(row) for row in rows]


def change(connection: Connection, key_id: str, changes: KeyChanges, now: float) -> tuple[Key, Key]:
    """The key before and after. Its budget follows where its terms say another one. Raises UnknownError, UnfitError."""
    old = _lock(connection, key_id)
    return old, _rewrite(connection, old, changes, now)


def disable(connection: Connection, key_id: str) -> tuple[Key, Key]:
    """The key before and after it was stopped for good."""
    old = _lock(connection, key_id)
    _write(connection, key_id, disabled=True)
    return old, replace(old, disabled=True)


def reinstate(connection: Connection, key_id: str, now: float) -> tuple[Key, Key]:
    """The key before and after its suspension or throttle was lifted and its strikes were forgiven."""
    old = _lock(connection, key_id)
    _write(connection, key_id, suspended=None, throttled_until=None, throttle_rpm=None, forgiven=now)
    return old, replace(old, suspended="", throttled_until=None, forgiven=now)


def rotate(connection: Connection, key: str, key_id: str, overlap: float, now: float) -> tuple[Key, Key]:
    """The old key, that ends after `overlap` seconds, and `key` in its place: same terms, same money left.

    Raises UnknownError; TakenError for a key that is not live, so that no rotation brings one back.
    """
    old = _lock(connection, key_id)
    if old.state(now) not in {"live", "throttled"}:
        raise TakenError(
            f"The key `{key_id}` is {old.state(now)}: reinstate it if it is suspended, or create a new one."
        )
    ends = now + overlap if old.expires is None else min(old.expires, now + overlap)
    _write(connection, key_id, expires=ends)
    about: KeyChanges = {"name": old.name, "scopes": old.scopes, "terms": old.terms, "expires": old.expires}
    new = _insert(connection, key, old.tenant, about, now, project=old.project)
    balances.succeed(connection, f"key:{key_id}", f"key:{new.id}", now)
    return replace(old, expires=ends), new


def ensure(connection: Connection, key: str, tenant: str, about: KeyChanges, now: float) -> tuple[Key | None, Key]:
    """The row of this very key before and after it was made to say this. One that was disabled stays so.

    Raises UnknownError for its tenant; TakenError when the key is another tenant's.
    """
    tenants.lock(connection, tenant)
    row = connection.execute(select(keys).where(keys.c.hash == digest(key))).first()
    if row is None:
        return None, _insert(connection, key, tenant, about, now)
    old = _key(row)
    if old.tenant != tenant:
        raise TakenError(f"The key {old.prefix} belongs to tenant `{old.tenant}`, not `{tenant}`: choose another key.")
    return old, _rewrite(connection, old, about, now)


# -- rows ------------------------------------------------------------------------------------------


def _lock(connection: Connection, key_id: str) -> Key:
    tenants.lock(connection, find(connection, key_id).tenant)
    return find(connection, key_id)  # as it is now that nobody else changes it


def _insert(connection: Connection, key: str, tenant: str, about: KeyChanges, now: float, *, project: str = "") -> Key:
    blank = Key(
        id=f"key_{secrets.token_hex(8)}",
        tenant=tenant,
        project=project,
        name="",
        prefix=_prefix(key),
        scopes=frozenset(),
        terms=Terms(),
        disabled=False,
        suspended="",
        throttled_until=None,
        forgiven=0.0,
        expires=None,
        created=now,
    )
    new = replace(blank, **about)
    row = {
        name: getattr(new, name) for name in ("id", "tenant", "project", "prefix", "disabled", "forgiven", "created")
    }
    connection.execute(insert(keys).values({**row, "hash": digest(key), **_columns(new)}))
    balances.make(connection, f"key:{new.id}", tenant, new.terms, now)
    return new


def _rewrite(connection: Connection, old: Key, changes: KeyChanges, now: float) -> Key:
    new = replace(old, **changes)
    if new != old:
        _write(connection, old.id, **_columns(new))
        balances.follow(connection, f"key:{old.id}", old.terms, new.terms, now)
    return new


def _columns(key: Key) -> dict[str, Any]:
    if strange := key.scopes - SCOPES:
        raise UnfitError(f"There is no scope `{min(strange)}`: choose from {', '.join(sorted(SCOPES))}.")
    scopes = " ".join(sorted(key.scopes))
    return {"name": key.name, "scopes": scopes, "terms": stored(key.terms), "expires": key.expires}


def _write(connection: Connection, key_id: str, **values: Any) -> None:
    connection.execute(update(keys).where(keys.c.id == key_id).values(values))


def _key(row: Any) -> Key:
    return Key(
        id=row.id,
        tenant=row.tenant,
        project=row.project,
        name=row.name,
        prefix=row.prefix,
        scopes=frozenset(row.scopes.split()),
        terms=terms_of(row.terms),
        disabled=row.disabled,
        suspended=row.suspended or "",
        throttled_until=row.throttled_until,
        forgiven=row.forgiven,
        expires=row.expires,
        created=row.created,
    )


def _prefix(key: str) -> str:
    return f"{key[:_SHOWN] if len(key) >= _LONG else key[:3]}..."
