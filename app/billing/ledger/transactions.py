"""Run a batch of reservations and settlements in one transaction. group_commit -> [transactions] -> decisions, SQL.

The batch's tenants are locked first (SQLite: the one write lock; PostgreSQL: their rows, in the order of ids), and
all that belongs to a tenant changes only under that lock: what is read here holds until the commit, over all
gateways. The statements are as many for one operation as for a hundred.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import Connection

from app.audit.chain import append
from app.audit.records import Entry
from app.billing.ledger.accounts import Account, Reserved, blank
from app.billing.ledger.decisions import LedgerTransaction, Op, Settle
from app.billing.ledger.strikes import strike
from app.billing.rate_limits import Bucket
from app.core.ports import AbusePolicy, Denied, Reservation, UsageRow
from app.db import statements
from app.db.schema import to_nano
from app.notifications import outbox

_ROW = tuple(item.name for item in fields(UsageRow) if item.name != "trail")
_MONEY = ("cost", "input_cost", "cached_cost", "output_cost", "goods", "lost")


@dataclass(frozen=True, slots=True)
class Rules:
    """hold: seconds until an unsettled reservation is released. audit_key: signs the chain."""

    hold: float
    audit_key: bytes
    abuse_policy: AbusePolicy = field(default_factory=AbusePolicy)


def apply(connection: Connection, ops: Sequence[Op], now: float, rules: Rules) -> list[Reservation | Denied | None]:
    """Return each operation's result, in order. now: Unix seconds."""
    transaction = _open(connection, ops, now, rules.abuse_policy)
    results = transaction.decide(ops, rules.hold)
    _close(connection, transaction, rules)
    return results


def release_expired(connection: Connection, now: float, rules: Rules) -> tuple[int, int]:
    """Release every expired reservation; how many are held after that, and their nano."""
    tenants = list(connection.execute(statements.EXPIRED, {"now": now}).scalars())
    if tenants:
        transaction = _read(connection, tenants, [], now, rules.abuse_policy)
        transaction.decide([], rules.hold)
        _close(connection, transaction, rules)
    calls, nano = connection.execute(statements.HELD_NOW).one()
    return int(calls), int(nano)


def _open(connection: Connection, ops: Sequence[Op], now: float, abuse_policy: AbusePolicy) -> LedgerTransaction:
    return _read(connection, list({op.tenant for op in ops}), ops, now, abuse_policy)


def _read(
    connection: Connection, tenants: list[str], ops: Sequence[Op], now: float, abuse_policy: AbusePolicy
) -> LedgerTransaction:
    known = set(connection.execute(statements.LOCK_TENANTS, {"names": tenants}).scalars())
    if strangers := {op.tenant for op in ops if isinstance(op, Settle) and op.row} - known:
        known |= _adopt(connection, sorted(strangers), tenants, now)
    about = {"names": tenants, "now": now, "ids": [op.id for op in ops]}
    held = [Reserved.of(row) for row in connection.execute(statements.READ_HELD, about)]
    owners = {owner: op.tenant for op in (*ops, *held) for owner in op.owners if op.tenant in known}
    rows = [op.row.id for op in ops if isinstance(op, Settle) and op.row]
    billed = connection.execute(statements.READ_BILLED, {"ids": rows}).scalars() if rows else ()
    levels = connection.execute(statements.READ_BUCKETS, {"owners": list(owners)})
    counts = not all(isinstance(op, Settle) or not op.counts for op in ops)
    return LedgerTransaction(
        now,
        abuse_policy,
        _accounts(connection, owners, now),
        {one.id: one for one in held},
        {(row.owner, row.name): Bucket(row.level, row.updated) for row in levels},
        set(billed),
        _live(connection, tenants) if counts else Counter(),
    )


def _accounts(connection: Connection, owners: dict[str, str], now: float) -> dict[str, Account]:
    rows = connection.execute(statements.READ_ACCOUNTS, {"ids": list(owners)})
    found = {row.id: Account.of(row, now) for row in rows}
    if missing := owners.keys() - found.keys():
        made = [blank(owner, owners[owner]) for owner in sorted(missing)]
        connection.execute(statements.MAKE_ACCOUNT[connection.dialect.name], made)
        return _accounts(connection, owners, now)
    return found


def _live(connection: Connection, tenants: list[str]) -> Counter[tuple[str, str]]:
    live: Counter[tuple[str, str]] = Counter()
    for row in connection.execute(statements.COUNT_HELD, {"names": tenants}):
        names = tuple(filter(None, row.names.split("\t")))
        group = Reserved("", row.key_id, row.project, row.tenant, names, 0, 0, (), 0.0, 0.0)
        live.update(dict.fromkeys(group.counted(), row.calls))
    return live


def _adopt(connection: Connection, strangers: Sequence[str], names: Sequence[str], now: float) -> set[str]:
    # A call of nobody's (refused at the door) is recorded too, and every row's money must be on some account.
    made = [
        {"id": name, "name": name, "plan": "unlimited", "terms": {}, "keeps_content": False, "created": now}
        for name in strangers
    ]
    connection.execute(statements.MAKE_TENANT[connection.dialect.name], made)
    accounts = [blank(f"tenant:{name}", name, budget=0) for name in strangers]
    connection.execute(statements.MAKE_ACCOUNT[connection.dialect.name], accounts)
    return set(connection.execute(statements.LOCK_TENANTS, {"names": names}).scalars())


def values(row: UsageRow) -> dict[str, Any]:
    """The usage row as the database holds it; the audit record signs the same."""
    # not asdict, which copies deeply: half of a reservation's time in a large batch
    plain = {name: _clean(getattr(row, name)) for name in _ROW}
    return {**plain, **{name: to_nano(getattr(row, name)) for name in _MONEY}}


def _clean(value: object) -> object:
    # NUL and lone surrogates can come in from a client's JSON, and no database takes them in a text.
    if isinstance(value, str) and not (value.isascii() and value.isprintable()):
        return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    return value


def _close(connection: Connection, transaction: LedgerTransaction, rules: Rules) -> None:
    if transaction.dropped:
        connection.execute(statements.DROP_RESERVATIONS, {"ids": transaction.dropped})
    if transaction.made:
        connection.execute(statements.MAKE_RESERVATION, [held.columns() for held in transaction.made.values()])
    if transaction.touched:
        levels = [
            {"owner": owner, "name": name, "level": bucket.level, "updated": bucket.updated}
            for (owner, name), bucket in ((which, transaction.buckets[which]) for which in sorted(transaction.touched))
        ]
        connection.execute(statements.WRITE_BUCKET[connection.dialect.name], levels)
    if charges := [account.columns() for account in transaction.accounts.values() if account.changed]:
        connection.execute(statements.CHARGE, charges)
    if transaction.pauses:
        pauses = [{"which": name, "until": until, "why": why} for name, (until, why) in transaction.pauses.items()]
        connection.execute(statements.PAUSE, pauses)
    if transaction.rows:
        written = [values(row) for row in transaction.rows]
        connection.execute(statements.WRITE_USAGE, written)
        transaction.entries[:0] = _records(transaction, written)
        strike(connection, transaction)
    append(connection, rules.audit_key, transaction.entries)
    if transaction.notices:
        outbox.post(connection, transaction.notices)


def _records(transaction: LedgerTransaction, written: Iterable[dict[str, Any]]) -> list[Entry]:
    return [
        Entry(
            plain["tenant"], transaction.now, "call", plain["key_id"], plain["id"], {"row": plain, "trail": row.trail}
        )
        for row, plain in zip(transaction.rows, written, strict=True)
    ]
