"""Repeated injections and toxic answers throttle a key, then suspend it. transactions -> [strikes] -> SQL.

A strike is a call that guard, moderator or leak check refused, or let pass for a tenant that wants its key throttled;
the usage rows are the count, so no counter can drift.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from app.audit.records import Entry
from app.core.ports import Notice
from app.db import statements

if TYPE_CHECKING:
    from app.billing.ledger.decisions import Books


def strike(connection: Connection, books: Books) -> None:
    """After the batch's rows are written: act on the keys that have a new strike."""
    rules = books.vigilance
    struck = sorted({row.key_id for row in books.rows if row.refused_by in statements.STRIKERS})
    if not struck or not (rules.strikes_to_throttle or rules.strikes_to_suspend):
        return
    for key in connection.execute(statements.READ_KEYS, {"ids": struck}).all():
        since = max(books.now - rules.strike_window, key.forgiven)
        count = connection.scalar(statements.COUNT_STRIKES, {"which": key.id, "since": since}) or 0
        if rules.strikes_to_suspend and count >= rules.strikes_to_suspend:
            if key.suspended is None:
                _suspend(connection, books, key, count)
        elif rules.strikes_to_throttle and count >= rules.strikes_to_throttle:
            _throttle(connection, books, key, count)


def _suspend(connection: Connection, books: Books, key: Any, count: int) -> None:
    why = f"{count} refused calls within {books.vigilance.strike_window:.0f} s"
    connection.execute(statements.SUSPEND, {"which": key.id, "why": why})
    _tell(books, key, "key.suspend", "key.suspended", {"strikes": count, "why": why})


def _throttle(connection: Connection, books: Books, key: Any, count: int) -> None:
    rules = books.vigilance
    until = books.now + rules.throttle_seconds
    connection.execute(statements.THROTTLE, {"which": key.id, "until": until, "rpm": rules.throttle_rpm})
    if (key.throttled_until or 0) <= books.now:  # told once, however often it is prolonged
        facts = {"strikes": count, "until": until, "requests_per_minute": rules.throttle_rpm}
        _tell(books, key, "key.throttle", "key.throttled", facts)


def _tell(books: Books, key: Any, kind: str, event: str, facts: dict[str, Any]) -> None:
    books.entries.append(Entry(key.tenant, books.now, kind, "system", key.id, facts))
    id_ = f"{event}/{key.id}/{books.now:.3f}"
    books.notices.append(Notice(id_, books.now, event, key.tenant, {"key": key.id, **facts}))
