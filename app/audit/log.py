"""The audit log: verified, searched, exported, pruned. CLI, admin API -> [audit] -> chain, audit_export, SQL.

What is signed is the chain of each tenant and of the operator; what hangs on it are the usage rows, each the same as in
its call's record, and the accounts, each the sum of its usage rows.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Connection, and_, delete, exists, func, select, true, tuple_, union_all, update

from app.audit import export as audit_export
from app.audit.chain import append
from app.audit.export import (
    Exported,
    Fault,
    Findings,
    Format,
    Stretch,
    Verification,
    Walk,
    missing,
    shown,
    wrong_secret,
)
from app.audit.records import GENESIS, OPERATOR, Entry, Record, seal
from app.core.refusals import LedgerError, UnknownError
from app.db.schema import accounts, audit, chains, from_nano, settings, tenants, usage
from app.db.store import Store
from app.installation.secrets import Secrets

__all__ = ["AuditLog", "Exported", "Fault", "Format", "Verification"]

RETENTION = 2557
"""Days that records are kept where nobody says how long: seven years."""
_DAY = 86_400.0
_CALL = "call"
_PRUNE = "audit.prune"
_NAMED = (audit.c.chain, chains.c.id, usage.c.tenant, accounts.c.tenant)


@dataclass(frozen=True, slots=True)
class _Ends:
    """Where a chain begins and ends as its row says; lowest and highest: the records that there are.

    sealed: whether the beginning is ours. row: whether the chain has one.
    """

    base_seq: int
    base_mac: str
    seq: int
    mac: str
    lowest: int | None
    highest: int | None
    row: bool
    sealed: bool


class AuditLog:
    """Every method raises LedgerError when the database or the place of an export can't do it."""

    def __init__(
        self, store: Store, secrets: Secrets, clock: Callable[[], float] = time.time, *, page: int = 2000
    ) -> None:
        """clock: Unix seconds. page: records read at a time, and pruned in one transaction."""
        self._store = store
        self._secrets = secrets
        self._clock = clock
        self._page = page

    async def verify(self, chain: str | None = None) -> Verification:
        """Check one chain or all, with their usage rows and accounts. Raises UnknownError for a chain that is none."""
        found = Findings()
        signer = await self._store.read(_signer)
        if signer not in (None, self._secrets.fingerprint):
            found.add(Fault("*", None, wrong_secret("the audit log", str(signer), self._secrets)))
            return found.done()
        if chain is None:
            async for name in self._names():
                found.take(await self._chain(name))
        elif await self._store.read(partial(_known, name=chain)):
            found.take(await self._chain(chain))
        else:
            raise UnknownError(f"There is no audit chain `{chain}`: name a tenant, or `{OPERATOR}`.")
        return found.done()

    async def records(  # noqa: PLR0917 - filters, given by name
        self,
        chain: str | None = None,
        kind: str | None = None,
        subject: str | None = None,
        after: float | None = None,
        before: float | None = None,
        limit: int = 100,
    ) -> list[Record]:
        """The last `limit` records of these, newest first. after <= at < before, Unix seconds."""
        wanted = ((audit.c.chain, chain), (audit.c.kind, kind), (audit.c.subject, subject))
        query = select(audit).where(*(column == value for column, value in wanted if value is not None))
        query = query.where(*_within(after, before))
        newest = (audit.c.seq.desc(),) if chain is not None else (audit.c.at.desc(), audit.c.chain, audit.c.seq.desc())
        query = query.order_by(*newest).limit(limit)
        return await self._store.read(lambda c: [Record(**row) for row in c.execute(query).mappings()])

    async def export(
        self,
        to: str,
        *,
        format: Format,  # noqa: A002 - what it is called everywhere
        chain: str | None = None,
        after: float | None = None,
        before: float | None = None,
    ) -> Exported:
        """Write one chain or all into `to`, the URL of a folder without an export. after <= at < before, Unix seconds.

        What is written of a chain is one run of records, so one whose clock was behind may lie outside.
        Raises UnknownError for a chain that is none.
        """
        stretches = await self._store.read(partial(_stretches, chain=chain, after=after, before=before))
        return await audit_export.export(self._store, self._secrets, to, stretches, form=format, size=self._page)

    async def verify_export(self, url: str) -> Verification:
        """Check every export in the folder and below: by itself, and against the database where that has any chain."""
        return await audit_export.verify(self._store, self._secrets, url, self._page)

    # -- verify ----------------------------------------------------------------------------------

    async def _names(self) -> AsyncIterator[str]:
        last: str | None = None
        while (last := await self._store.read(partial(_next, after=last))) is not None:
            yield last

    async def _chain(self, name: str) -> Findings:
        while True:
            ends = await self._store.read(partial(_ends, key=self._secrets.audit_key, name=name))
            found = await self._examine(name, ends)
            if not found.faults:
                return found
            now = await self._store.read(partial(_ends, key=self._secrets.audit_key, name=name))
            if now.base_seq == ends.base_seq:  # else a prune took away what was being read
                return found

    async def _examine(self, name: str, ends: _Ends) -> Findings:
        found = Findings(chains=int(ends.row or ends.highest is not None))
        for fault in _posture(name, ends):
            found.add(fault)
        if ends.sealed:  # else nothing says what the first record is to follow
            await self._walk(name, ends, found)
        await self._loose(name, found)
        found.add(await self._store.read(partial(_balance, name=name)))
        return found

    async def _walk(self, name: str, ends: _Ends, found: Findings) -> None:
        walk = Walk(self._secrets.audit_key, name, ends.base_seq, ends.base_mac)
        while rows := await self._store.read(partial(_judged, name=name, after=walk.seq, to=ends.seq, size=self._page)):
            for row in rows:
                record = Record(**{column: row[column] for column in Record.__slots__})
                found.add(walk.step(record) or _billing(record, row))
            found.records += len(rows)
        if walk.seq != ends.seq:
            found.add(Fault(name, walk.seq + 1, missing(walk.seq + 1, ends.seq)))
        elif ends.row and walk.mac != ends.mac:
            found.add(Fault(name, ends.seq, "the last record is not the one that the chain ends with"))

    async def _loose(self, name: str, found: Findings) -> None:
        """Usage rows without a record: none, but for those whose records a prune took and counted."""
        since, pruned = await self._store.read(lambda connection: (_since(connection), _pruned(connection, name)))
        calls, cost, last = 0, 0, (since, "")
        while rows := await self._store.read(partial(_calls, name=name, since=since, after=last, size=self._page)):
            for row in rows:
                if row.seq is None:
                    calls, cost = calls + 1, cost + row.cost
                    if pruned == (0, 0):
                        found.add(Fault(name, None, f"the usage row {row.id} has no record"))
            last = (rows[-1].created, rows[-1].id)
        if pruned not in ((0, 0), (calls, cost)):
            what = f"{calls} usage rows of {from_nano(cost)} have no record"
            found.add(Fault(name, None, f"{what}, but {pruned[0]} of {from_nano(pruned[1])} were pruned"))

    # -- prune -----------------------------------------------------------------------------------

    async def prune(
        self,
        to: str,
        retention: Mapping[str, int],
        *,
        format: Format = "jsonl",  # noqa: A002 - what it is called everywhere
        now: float | None = None,
    ) -> dict[str, int]:
        """Move records older than their chain's retention out of the database; how many, by chain.

        retention: days by chain; RETENTION for one that it does not name.
        They are exported first, to a new folder in `to`, and read back. A chain that does not verify stays as it is:
        it is evidence. Then, after all others are done, LedgerError says so.
        """
        moment = self._clock() if now is None else now
        due = await self._store.read(partial(_old, retention=retention, now=moment))
        checks = {stretch.chain: await self.verify(stretch.chain) for stretch in due}
        sound = [stretch for stretch in due if checks[stretch.chain].ok]
        if sound:
            folder = f"{to.rstrip('/')}/prune-{datetime.fromtimestamp(moment, UTC):%Y%m%dT%H%M%SZ}"
            await audit_export.export(self._store, self._secrets, folder, sound, form=format, size=self._page)
            proof = await self.verify_export(folder)
            if not proof.ok:
                raise LedgerError(f"Nothing was pruned, the export {shown(folder)} is not sound: {_first(proof)}")
            await asyncio.to_thread(os.sync)  # a power cut must not take the file and the records both
            for stretch in sound:
                await self._cut(stretch, shown(folder), moment)
        if refused := [name for name, check in checks.items() if not check.ok]:
            raise LedgerError(f"Not pruned: {', '.join(refused)}. {_first(checks[refused[0]])}")
        return {stretch.chain: stretch.last - stretch.first + 1 for stretch in sound}

    async def _cut(self, stretch: Stretch, folder: str, now: float) -> None:
        # In steps, each provable by itself: no transaction holds the ledger up for long.
        for first in range(stretch.first, stretch.last + 1, self._page):
            last = min(first + self._page - 1, stretch.last)
            step = replace(stretch, first=first, last=last)
            await self._store.write(partial(_drop, key=self._secrets.audit_key, stretch=step, to=folder, now=now))


def _first(check: Verification) -> str:
    fault = check.faults[0]
    place = "" if fault.seq is None else f" {fault.seq}"
    return f"{fault.chain}{place}: {fault.what}"


def _within(after: float | None, before: float | None) -> list[Any]:
    bounds = [] if after is None else [audit.c.at >= after]
    return bounds if before is None else [*bounds, audit.c.at < before]


# -- what verify reads ---------------------------------------------------------------------------


def _signer(connection: Connection) -> str | None:
    value: str | None = connection.scalar(select(settings.c.value).where(settings.c.name == "audit.fingerprint"))
    return value


def _known(connection: Connection, name: str) -> bool:
    return any(connection.scalar(select(exists().where(column == name))) for column in (*_NAMED, tenants.c.id))


def _next(connection: Connection, after: str | None) -> str | None:
    """The first name after this one, in the database's own order; every column here has an index."""
    later = [(column, true() if after is None else column > after) for column in _NAMED]
    least = union_all(*(select(func.min(column).label("name")).where(where) for column, where in later)).subquery()
    name: str | None = connection.scalar(select(func.min(least.c.name)))
    return name


def _ends(connection: Connection, key: bytes, name: str) -> _Ends:
    # In this order: what is appended or pruned between the statements is neither beyond the end nor before the base.
    highest = connection.scalar(select(func.max(audit.c.seq)).where(audit.c.chain == name))
    row = connection.execute(select(chains).where(chains.c.id == name)).first()
    lowest = connection.scalar(select(func.min(audit.c.seq)).where(audit.c.chain == name))
    if row is None:
        return _Ends(0, GENESIS, highest or 0, "", lowest, highest, row=False, sealed=True)
    sealed = seal(key, name, row.base_seq, row.base_mac) == row.base_seal
    return _Ends(row.base_seq, row.base_mac, row.seq, row.mac, lowest, highest, row=True, sealed=sealed)


def _posture(name: str, ends: _Ends) -> list[Fault]:
    if not ends.row:
        gone = "the chain's row is missing, while its records are there"
        return [] if ends.highest is None else [Fault(name, None, gone)]
    faults = []
    if not ends.sealed:
        what = "where the chain begins was not sealed with this secret: a prune that was not ours, or another secret"
        faults.append(Fault(name, ends.base_seq, what))
    if ends.lowest is not None and ends.lowest <= ends.base_seq:
        faults.append(Fault(name, ends.lowest, "a record stands before the chain's beginning"))
    if ends.highest is not None and ends.highest > ends.seq:
        faults.append(Fault(name, ends.seq + 1, "records stand after the chain's end"))
    return faults


def _judged(connection: Connection, name: str, after: int, to: int, size: int) -> list[Mapping[str, Any]]:
    """Records, each with the usage row that a call's is about. No two columns of the tables have the same name."""
    call = and_(audit.c.kind == _CALL, usage.c.id == audit.c.subject)
    query = select(audit, usage).outerjoin_from(audit, usage, call)
    query = query.where(audit.c.chain == name, audit.c.seq > after, audit.c.seq <= to)
    return [dict(row) for row in connection.execute(query.order_by(audit.c.seq).limit(size)).mappings()]


def _billing(record: Record, row: Mapping[str, Any]) -> Fault | None:
    if record.kind != _CALL:
        return None
    if row["id"] is None:
        return Fault(record.chain, record.seq, f"the usage row {record.subject} is missing")
    said = orjson.loads(record.data)["row"]
    if differing := sorted(name for name, value in said.items() if row[name] != value):
        return Fault(record.chain, record.seq, f"the usage row {record.subject} was changed: {', '.join(differing)}")
    return None


def _since(connection: Connection) -> float:
    return float(connection.scalar(select(settings.c.value).where(settings.c.name == "audit.since")) or 0)


def _calls(connection: Connection, name: str, since: float, after: tuple[float, str], size: int) -> list[Any]:
    call = and_(audit.c.subject == usage.c.id, audit.c.chain == usage.c.tenant, audit.c.kind == _CALL)
    query = select(usage.c.id, usage.c.created, usage.c.cost, audit.c.seq).outerjoin_from(usage, audit, call)
    query = query.where(usage.c.tenant == name, usage.c.created > since, usage.c.created >= after[0])
    query = query.where(tuple_(usage.c.created, usage.c.id) > after)
    return list(connection.execute(query.order_by(usage.c.created, usage.c.id).limit(size)))


def _balance(connection: Connection, name: str) -> Fault | None:
    billed = select(func.coalesce(func.sum(usage.c.cost), 0)).where(usage.c.tenant == name).scalar_subquery()
    account = select(accounts.c.spent).where(accounts.c.id == f"tenant:{name}").scalar_subquery()
    spent, total = connection.execute(select(account, billed)).one()  # one statement: calls are settled meanwhile
    sums = from_nano(int(total))
    if spent is None and total:
        return Fault(name, None, f"the tenant's account is missing, with {sums} billed")
    if spent not in {None, total}:
        return Fault(name, None, f"the tenant's account says {from_nano(spent)} spent, its usage rows sum to {sums}")
    return None


# -- what is exported and pruned -----------------------------------------------------------------


def _stretches(connection: Connection, chain: str | None, after: float | None, before: float | None) -> list[Stretch]:
    query = select(chains).where(true() if chain is None else chains.c.id == chain).order_by(chains.c.id)
    rows = list(connection.execute(query))
    if chain is not None and not rows:
        raise UnknownError(f"There is no audit chain `{chain}`: name a tenant, or `{OPERATOR}`.")
    found = []
    for row in rows:
        of = and_(audit.c.chain == row.id, audit.c.seq > row.base_seq, audit.c.seq <= row.seq)
        ends = select(func.min(audit.c.seq), func.max(audit.c.seq)).where(of, *_within(after, before))
        first, last = connection.execute(ends).one()
        if first is not None:
            previous = select(audit.c.mac).where(audit.c.chain == row.id, audit.c.seq == first - 1)
            mac = row.base_mac if first - 1 == row.base_seq else connection.scalar(previous) or ""
            found.append(Stretch(row.id, first, last, mac, (row.seq, row.mac)))
    return found


def _old(connection: Connection, retention: Mapping[str, int], now: float) -> list[Stretch]:
    """What of each chain stands before the first record that is to be kept."""
    found = []
    for row in list(connection.execute(select(chains).order_by(chains.c.id))):
        cut = now - retention.get(row.id, RETENTION) * _DAY
        kept = select(audit.c.seq).where(audit.c.chain == row.id, audit.c.seq > row.base_seq, audit.c.at >= cut)
        first = connection.scalar(kept.order_by(audit.c.seq).limit(1))
        last = row.seq if first is None else min(first - 1, row.seq)
        if last > row.base_seq:
            found.append(Stretch(row.id, row.base_seq + 1, last, row.base_mac, (row.seq, row.mac)))
    return found


def _pruned(connection: Connection, name: str) -> tuple[int, int]:
    """How many calls' records were pruned, and their nano. The last prune's record says it, in the chain itself."""
    where = (audit.c.chain == name, audit.c.subject == name, audit.c.kind == _PRUNE)
    data = connection.scalar(select(audit.c.data).where(*where).order_by(audit.c.seq.desc()).limit(1))
    try:
        said = orjson.loads(data or "{}")
        return int(said.get("calls", 0)), int(said.get("cost", 0))
    except (ValueError, AttributeError):  # a record that was changed, which the walk tells of
        return 0, 0


def _drop(connection: Connection, key: bytes, stretch: Stretch, to: str, now: float) -> None:
    name, first, last = stretch.chain, stretch.first, stretch.last
    gone = and_(audit.c.chain == name, audit.c.seq >= first, audit.c.seq <= last)
    mac = connection.scalar(select(audit.c.mac).where(audit.c.chain == name, audit.c.seq == last))
    call = and_(usage.c.id == audit.c.subject, usage.c.created > _since(connection))
    sums = select(func.count(), func.coalesce(func.sum(usage.c.cost), 0)).select_from(audit.join(usage, call))
    calls, cost = connection.execute(sums.where(gone, audit.c.kind == _CALL)).one()
    before = _pruned(connection, name)
    data = {"first": first, "last": last, "to": to, "calls": before[0] + calls, "cost": before[1] + int(cost)}
    append(connection, key, [Entry(chain, now, _PRUNE, "system", name, data) for chain in sorted({name, OPERATOR})])
    base = {"base_seq": last, "base_mac": mac, "base_seal": seal(key, name, last, str(mac))}
    moved = update(chains).where(chains.c.id == name, chains.c.base_seq == first - 1).values(base)
    if mac is None or connection.execute(moved).rowcount != 1:
        raise LedgerError(f"The chain `{name}` was pruned by another at the same time: run it again.")
    connection.execute(delete(audit).where(gone))
