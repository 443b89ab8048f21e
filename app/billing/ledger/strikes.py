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
    from app.billing.ledger.decisions import LedgerTransaction


def strike(connection: Connection, transaction: LedgerTransaction) -> None:
    """After the batch's rows are written: act on the keys that have a new strike."""
    rules = transaction.abuse_policy
    struck = sorted({row.key_id for row in transaction.rows if row.refused_by in statements.STRIKERS})
    if not struck or not (rules.strikes_to_throttle or rules.strikes_to_suspend):
        return
    for key in connection.execute(statements.READ_KEYS, {"ids": struck}).all():
        since = max(transaction.now - rules.strike_window, key.forgiven)
        count = connection.scalar(statements.COUNT_STRIKES, {"which": key.id, "since": since}) or 0
        if rules.strikes_to_suspend and count >= rules.strikes_to_suspend:
            if key.suspended is None:
                _suspend(connection, transaction, key, count)
        elif rules.strikes_to_throttle and count >= rules.strikes_to_throttle:
            _throttle(connection, transaction, key, count)


def _suspend(connection: Connection, transaction: LedgerTransaction, key: Any, count: int) -> None:
    why = f"{count} refused calls within {transaction.abuse_policy.strike_window:.0f} s"
    connection.execute(statements.SUSPEND, {"which": key.id, "why": why})
    _tell(transaction, key, "key.suspend", "key.suspended", {"strikes": count, "why": why})


def _throttle(connection: Connection, transaction: LedgerTransaction, key: Any, count: int) -> None:
    rules = transaction.abuse_policy
    until = transaction.now + rules.throttle_seconds
    connection.execute(statements.THROTTLE, {"which": key.id, "until": until, "rpm": rules.throttle_rpm})
    if (key.throttled_until or 0) <= transaction.now:  # told once, however often it is prolonged
        facts = {"strikes": count, "until": until, "requests_per_minute": rules.throttle_rpm}
        _tell(transaction, key, "key.throttle", "key.throttled", facts)


def _tell(transaction: LedgerTransaction, key: Any, kind: str, event: str, facts: dict[str, Any]) -> None:
    transaction.entries.append(Entry(key.tenant, transaction.now, kind, "system", key.id, facts))
    id_ = f"{event}/{key.id}/{transaction.now:.3f}"
    transaction.notices.append(Notice(id_, transaction.now, event, key.tenant, {"key": key.id, **facts}))
