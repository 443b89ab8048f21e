"""Hand batches and their lines out to workers, and take in what became of them.  worker -> [batch_work] -> SQL.

Crash-safe: whoever takes a line or a batch holds it by a lease, and a lease that is not renewed is another's to take.
The first result of a line stands; every later one is dropped. Every method raises LedgerError.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, exists, func, insert, or_, select, update

from app.batches.files import put
from app.batches.model import OPEN, Entry, File, InputLine, Job, LineAnswer, Owner, Problem, Result
from app.batches.scheduling import KINDS, serial, turns
from app.db.group_commit import Batcher
from app.db.schema import batch_lines, batches, usage
from app.db.store import Store
from app.installation.secrets import Secrets

LEASE = 20.0
"""Seconds until a worker that is not heard of is taken for dead."""
PAGE = 200
_LEFT = ("waiting", "running")
_Op = Callable[[Connection], None]


class Work:
    """For one worker. name: told from every other's. clock: Unix seconds."""

    def __init__(
        self, store: Store, secrets: Secrets, name: str, clock: Callable[[], float] = time.time, lease: float = LEASE
    ) -> None:
        self.name = name
        self.lease = lease
        self._store = store
        self._sealer = secrets.sealer
        self._clock = clock
        self._ops: Batcher[_Op, None] = Batcher(self._run)

    # -- which batches go on -----------------------------------------------------------------------

    async def advance(self) -> bool:
        """Free what dead workers held, end what is to end; whether any batch is open."""
        some = select(exists().where(batches.c.status.in_(OPEN)))
        if not await self._store.read(lambda connection: connection.scalar(some)):
            return False
        now = self._clock()

        def work(connection: Connection) -> None:
            running = and_(batch_lines.c.state == "running", batch_lines.c.lease <= now)
            for row in connection.execute(select(batch_lines).where(running)).all():
                _free(connection, row.batch, row.number, running)
            for row in connection.execute(_GOING.with_for_update()).all():
                _end_when_done(connection, row, now)

        await self._store.write(work)
        return True

    async def job(self) -> Job | None:
        """A batch whose input is to be read, or whose output is to be written, by this worker alone."""
        now = self._clock()
        free = or_(batches.c.lease.is_(None), batches.c.lease <= now)
        due = or_(batches.c.status == "validating", batches.c.ending.is_not(None))
        query = select(batches).where(batches.c.status.in_(OPEN), due, free).order_by(batches.c.created).limit(1)

        def work(connection: Connection) -> Job | None:
            row = connection.execute(query.with_for_update(skip_locked=True)).first()
            if row is None:
                return None
            mine = {"worker": self.name, "lease": now + self.lease}
            connection.execute(update(batches).where(batches.c.id == row.id).values(**mine))
            if row.ending is None:  # read anew: another may have died half-way
                connection.execute(delete(batch_lines).where(batch_lines.c.batch == row.id))
            owner = Owner(row.tenant, row.project, row.key_id)
            return Job(row.id, owner, row.endpoint, row.blob, row.ending, row.output_lives)

        return await self._store.write(work)

    async def beat(self) -> None:
        """Renew the leases of all that it holds."""
        until = {"lease": self._clock() + self.lease}
        lines = update(batch_lines).where(batch_lines.c.state == "running", batch_lines.c.worker == self.name)
        jobs = update(batches).where(batches.c.status.in_(OPEN), batches.c.worker == self.name)

        def work(connection: Connection) -> None:
            connection.execute(lines.values(**until))
            connection.execute(jobs.values(**until))

        await self._store.write(work)

    # -- reading the input -------------------------------------------------------------------------

    async def add(self, job: Job, entries: Sequence[Entry]) -> bool:
        """Good lines of the input. False: the batch is no longer this worker's."""
        rows = [
            {
                "batch": job.id,
                "number": entry.number,
                "custom_id": entry.custom_id,
                "start": entry.start,
                "size": entry.size,
                "state": "waiting",
                "attempt": 0,
            }
            for entry in entries
        ]
        return await self._mine(job, lambda connection, _: connection.execute(insert(batch_lines), rows))

    async def begin(self, job: Job, total: int) -> bool:
        """Its input is good: its lines may run."""
        return await self._mine(job, lambda c, row: self._become(c, row, "in_progress", total=total))

    async def fail(self, job: Job, problems: Sequence[Problem]) -> bool:
        """Its input is not."""
        errors = [{"code": p.code, "message": p.message, "param": p.param, "line": p.line} for p in problems]

        def work(connection: Connection, row: Row[Any]) -> None:
            connection.execute(delete(batch_lines).where(batch_lines.c.batch == job.id))
            self._become(connection, row, "failed", errors=errors)

        return await self._mine(job, work)

    # -- running its lines -------------------------------------------------------------------------

    async def claim(self, wanted: int, most: Mapping[str, int] | None = None) -> list[InputLine]:
        """Up to `wanted` lines for this worker: fair between tenants, the oldest batch of each first.

        most: by batch, how many of it at most.
        """
        now = self._clock()
        open_ = and_(batches.c.status == "in_progress", batches.c.due <= now, batches.c.expires > now)
        query = select(batches).where(open_).order_by(batches.c.id).with_for_update()

        def work(connection: Connection) -> list[InputLine]:
            rows = sorted(connection.execute(query).all(), key=lambda row: (row.created, row.id))
            waiting = _waiting(connection, rows, wanted, most or {})
            served: dict[str, float] = {}
            for row in rows:
                served[row.tenant] = max(served.get(row.tenant, 0.0), row.served)
            counts = {tenant: len(lines) for tenant, lines in waiting.items()}
            given = turns(counts, _running(connection), served, wanted)
            taken = [line for tenant, lines in given.items() for line in waiting[tenant][:lines]]
            mine = {"state": "running", "worker": self.name, "lease": now + self.lease}
            for batch in {line.batch for line in taken}:
                numbers = [line.number for line in taken if line.batch == batch]
                chosen = and_(batch_lines.c.batch == batch, batch_lines.c.number.in_(numbers))
                connection.execute(update(batch_lines).where(chosen).values(**mine))
                connection.execute(update(batches).where(batches.c.id == batch).values(served=now))
            return taken

        return await self._store.write(work)

    async def done(self, line: InputLine, answer: LineAnswer) -> None:
        """The line's answer. Only the first one counts."""
        values = {
            "state": "answered" if 200 <= answer.status < 300 else "failed",
            "status_code": answer.status or None,
            "request_id": answer.request_id or None,
            "response": self._sealer.seal(answer.body, _about(line.batch, line.number)),
            "worker": None,
            "lease": None,
        }
        change = update(batch_lines).where(_is(line), batch_lines.c.state.in_(_LEFT)).values(**values)
        await self._submit(lambda connection: connection.execute(change))

    async def again(self, line: InputLine, wait: float = 0.0) -> None:
        """The line was not answered: it runs again, and no other of its batch for `wait` seconds."""
        until = self._clock() + wait
        mine = and_(batch_lines.c.state == "running", batch_lines.c.worker == self.name)
        later = update(batches).where(batches.c.id == line.batch, batches.c.due < until).values(due=until)

        def work(connection: Connection) -> None:
            _free(connection, line.batch, line.number, mine)
            if wait:
                connection.execute(later)

        await self._submit(work)

    # -- writing the output ------------------------------------------------------------------------

    async def results(self, job: Job, states: Sequence[str], after: int) -> list[Result]:
        """Lines in these states behind line `after`, in their order; none: that was the last."""
        line = batch_lines.c
        query = select(batch_lines).where(line.batch == job.id, line.state.in_(states), line.number > after)
        query = query.order_by(line.number).limit(PAGE)
        rows = await self._store.read(lambda connection: connection.execute(query).all())
        return [self._result(row) for row in rows]

    async def end(self, job: Job, output: File | None, errors: File | None) -> bool:
        """Its files are written: they are its owner's now, and its lines are forgotten."""

        def work(connection: Connection, row: Row[Any]) -> None:
            by_state = select(batch_lines.c.state, func.count().label("lines")).where(batch_lines.c.batch == job.id)
            counts = {one.state: one.lines for one in connection.execute(by_state.group_by(batch_lines.c.state))}
            for file in filter(None, (output, errors)):
                put(connection, job.owner, file)
            files = {"output_file": output and output.id, "error_file": errors and errors.id}
            counted = {"completed": counts.get("answered", 0), "failed": counts.get("failed", 0)}
            connection.execute(delete(batch_lines).where(batch_lines.c.batch == job.id))
            self._become(connection, row, str(job.ending), **files, **counted)

        return await self._mine(job, work)

    # -- how ---------------------------------------------------------------------------------------

    async def _mine(self, job: Job, work: Callable[[Connection, Row[Any]], Any]) -> bool:
        """Run `work` where the batch is still this worker's, and nothing where it is not."""
        query = select(batches).where(batches.c.id == job.id, batches.c.worker == self.name).with_for_update()

        def guarded(connection: Connection) -> bool:
            row = connection.execute(query).first()
            if row is None or row.ending != job.ending:
                return False
            work(connection, row)
            return True

        return await self._store.write(guarded)

    def _become(self, connection: Connection, row: Row[Any], status: str, **values: Any) -> None:
        moments = {**row.moments, status: self._clock()}
        values |= {"status": status, "ending": None, "moments": moments, "worker": None, "lease": None}
        connection.execute(update(batches).where(batches.c.id == row.id).values(**values))

    def _result(self, row: Row[Any]) -> Result:
        body = None if row.response is None else self._sealer.open(row.response, _about(row.batch, row.number))
        return Result(row.number, row.custom_id, row.state, row.status_code, row.request_id, body)

    async def _submit(self, op: Callable[[Connection], Any]) -> None:
        await self._ops.submit(op)

    async def _run(self, ops: Sequence[_Op]) -> Sequence[None]:
        await self._store.write(lambda connection: [op(connection) for op in ops])
        return [None] * len(ops)


_GOING = (
    select(batches)
    .where(batches.c.status.in_(("in_progress", "cancelling")), batches.c.ending.is_(None))
    .order_by(batches.c.id)
)


def _about(batch: str, number: int) -> str:
    return f"batch line {batch} {number}"


def _is(line: InputLine) -> ColumnElement[bool]:
    return and_(batch_lines.c.batch == line.batch, batch_lines.c.number == line.number)


def _end_when_done(connection: Connection, row: Row[Any], now: float) -> None:
    """Lines on their way are waited for; those that wait are not, once the batch is cancelled or expired."""

    def some(state: str) -> bool:
        of = exists().where(batch_lines.c.batch == row.id, batch_lines.c.state == state)
        return bool(connection.scalar(select(of)))

    if some("running"):
        return
    values: dict[str, Any] = {"ending": "cancelled"}
    if row.status == "in_progress":
        late = row.expires <= now
        waits = some("waiting")
        if waits and not late:
            return
        values = {"ending": "expired" if waits else "completed", "status": "finalizing"}
        values["moments"] = {**row.moments, "finalizing": now}
    connection.execute(update(batches).where(batches.c.id == row.id).values(**values))


def _free(connection: Connection, batch: str, number: int, held: ColumnElement[bool]) -> None:
    """Let the line run again. A call that cost nothing is over: the next attempt is another call, to be billed."""
    this = and_(batch_lines.c.batch == batch, batch_lines.c.number == number, held)
    row = connection.execute(select(batch_lines.c.attempt).where(this).with_for_update()).first()
    if row is None:
        return
    ids = [f"{kind}-{serial(batch, number, row.attempt)}" for kind in KINDS]
    empty = exists().where(usage.c.id.in_(ids), usage.c.cost == 0, usage.c.outcome.not_in(("ok", "hit")))
    attempt = row.attempt + int(bool(connection.scalar(select(empty))))
    values = {"state": "waiting", "attempt": attempt, "worker": None, "lease": None}
    connection.execute(update(batch_lines).where(this).values(**values))


def _running(connection: Connection) -> dict[str, int]:
    """Lines on their way by tenant."""
    query = (
        select(batches.c.tenant, func.count().label("lines"))
        .join(batch_lines, batch_lines.c.batch == batches.c.id)
        .where(batch_lines.c.state == "running")
        .group_by(batches.c.tenant)
    )
    return {row.tenant: row.lines for row in connection.execute(query)}


def _waiting(
    connection: Connection, rows: Sequence[Row[Any]], wanted: int, most: Mapping[str, int]
) -> dict[str, list[InputLine]]:
    """By tenant, its next `wanted` lines. rows: batches, the oldest first."""
    found: dict[str, list[InputLine]] = {}
    for row in rows:
        lines = found.setdefault(row.tenant, [])
        free_slots = min(wanted - len(lines), most.get(row.id, wanted))
        if free_slots <= 0:
            continue
        query = select(batch_lines).where(batch_lines.c.batch == row.id, batch_lines.c.state == "waiting")
        query = query.order_by(batch_lines.c.number).limit(free_slots)
        for one in connection.execute(query):
            place = (one.batch, one.number, one.attempt, one.start, one.size)
            lines.append(InputLine(*place, row.blob, row.endpoint, row.key_id, row.expires))
    return found
