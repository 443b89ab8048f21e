"""Append to the audit chain, inside the transaction that does what is recorded. transactions, admin -> [chain] -> SQL.

A chain's row is locked until the commit, so its records have no gap and no two the same number, over all gateways.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, insert, select, update

from app.audit.records import GENESIS, Entry, Record, link, seal
from app.db.schema import audit, chains
from app.db.statements import upserts

_LOCK = (
    select(chains.c.id, chains.c.seq, chains.c.mac)
    .where(chains.c.id.in_(bindparam("names", expanding=True)))
    .order_by(chains.c.id)  # every writer locks in the same order
    .with_for_update()
)
_MAKE = {name: new.on_conflict_do_nothing() for name, new in upserts(chains).items()}
_WRITE = insert(audit)
_ADVANCE = (
    update(chains).where(chains.c.id == bindparam("which")).values(seq=bindparam("to_seq"), mac=bindparam("to_mac"))
)


def append(connection: Connection, key: bytes, entries: Sequence[Entry]) -> list[Record]:
    """Sign and write the entries, in their order. key: the audit key. Locks tenants' rows never: do that before."""
    if not entries:
        return []
    heads = _lock(connection, key, sorted({entry.chain for entry in entries}))
    records = []
    for entry in entries:
        seq, before = heads[entry.chain]
        record = link(key, seq, before, entry)
        heads[entry.chain] = record.seq, record.mac
        records.append(record)
    connection.execute(_WRITE, [{name: getattr(record, name) for name in record.__slots__} for record in records])
    connection.execute(_ADVANCE, [{"which": c, "to_seq": seq, "to_mac": mac} for c, (seq, mac) in heads.items()])
    return records


def _lock(connection: Connection, key: bytes, names: list[str]) -> dict[str, tuple[int, str]]:
    heads = {row.id: (row.seq, row.mac) for row in connection.execute(_LOCK, {"names": names})}
    if missing := [name for name in names if name not in heads]:
        new = [
            {"id": name, "seq": 0, "mac": GENESIS, "base_seq": 0, "base_mac": GENESIS,
             "base_seal": seal(key, name, 0, GENESIS)}
            for name in missing
        ]  # fmt: skip
        connection.execute(_MAKE[connection.dialect.name], new)
        return _lock(connection, key, names)
    return heads
