"""Run a batch of reservations and settlements as one transaction. batcher -> [transactions] -> books, statements.

The batch's tenants are locked first (SQLite: the one write lock; PostgreSQL: their rows, in the order of ids), and
all that belongs to a tenant changes only under that lock: what is read here holds until the commit, over all
gateways. The statements are as many for one operation as for a hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection

from app.adapters.sql import statements
from app.adapters.sql.books import Account, Books, Held, Op, Settle
from app.adapters.sql.schema import to_nano
from app.ports import Denied, Reservation, UsageRow
from app.rules.limits import Bucket

_ROW = tuple(item.name for item in fields(UsageRow))
_HELD = tuple(item.name for item in fields(Held))


def apply(connection: Connection, ops: Sequence[Op], now: float, hold: float) -> list[Reservation | Denied | None]:
    """Return each operation's result, in order.

    now: Unix seconds. hold: seconds after which a reservation that nobody settled is released.
    """
    books = _open(connection, ops, now)
    results = books.decide(ops, hold)
    _close(connection, books)
    return results


def _open(connection: Connection, ops: Sequence[Op], now: float) -> Books:
    names = list({op.owner[0] for op in ops})
    rows = [op.row for op in ops if isinstance(op, Settle) and op.row]
    accounts = _lock(connection, names)
    if strangers := {row.tenant for row in rows} - accounts.keys():
        accounts = _adopt(connection, sorted(strangers), names)
    about = {"names": names, "now": now, "ids": [op.held for op in ops if op.held]}
    held = connection.execute(statements.READ_HELD, about)
    levels = connection.execute(statements.READ_BUCKETS, {"keys": list({op.owner[1] for op in ops})})
    billed = connection.execute(statements.READ_BILLED, {"ids": [row.id for row in rows]}).scalars() if rows else ()
    return Books(
        now,
        accounts,
        {row.id: Held(row.id, row.key_id, row.tenant, row.cost, row.tokens, row.expires) for row in held},
        {(row.key_id, row.kind): Bucket(row.level, row.updated) for row in levels},
        set(billed),
    )


def _lock(connection: Connection, names: Sequence[str]) -> dict[str, Account]:
    rows = connection.execute(statements.LOCK_TENANTS, {"names": names})
    return {row.id: Account(row.budget, row.spent, row.reserved) for row in rows}


def _adopt(connection: Connection, strangers: Sequence[str], names: Sequence[str]) -> dict[str, Account]:
    # A call of nobody's (refused at the door) is recorded too, and every row's money must be on some account.
    values = [{"id": name, "name": name, "budget": 0, "spent": 0, "reserved": 0} for name in strangers]
    connection.execute(statements.MAKE_TENANT[connection.dialect.name], values)
    return _lock(connection, names)


def _values(row: UsageRow) -> dict[str, Any]:
    return {**_plain(row, _ROW), "cost": to_nano(row.cost), "trail": dict(row.trail)}


def _plain(record: object, names: Sequence[str]) -> dict[str, Any]:
    # not asdict, which copies deeply: half of a reservation's time in a large batch
    return {name: _clean(getattr(record, name)) for name in names}


def _clean(value: object) -> object:
    # NUL and lone surrogates can come in from a client's JSON, and no database takes them in a text.
    if isinstance(value, str) and not (value.isascii() and value.isprintable()):
        return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    return value


def _close(connection: Connection, books: Books) -> None:
    if books.dropped:
        connection.execute(statements.DROP_RESERVATIONS, {"ids": books.dropped})
    if books.rows:
        connection.execute(statements.WRITE_USAGE, [_values(row) for row in books.rows])
    if books.made:
        connection.execute(statements.MAKE_RESERVATION, [_plain(held, _HELD) for held in books.made])
    if books.touched:
        levels = [
            {"key_id": key_id, "kind": kind, "level": bucket.level, "updated": bucket.updated}
            for (key_id, kind), bucket in ((key, books.buckets[key]) for key in books.touched)
        ]
        connection.execute(statements.WRITE_BUCKET[connection.dialect.name], levels)
    charges = [
        {"whose": name, "more_spent": account.more_spent, "more_reserved": account.more_reserved}
        for name, account in books.accounts.items()
        if account.more_spent or account.more_reserved
    ]
    if charges:
        connection.execute(statements.CHARGE, charges)
