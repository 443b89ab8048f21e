"""The worker: reads batches' inputs, runs their lines where gateways leave room, writes their outputs.

batch_worker, graphs/local -> [worker] -> gateways, SQL, blobs. It may die at any moment: another one goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import orjson

from app.batches.blobs import Blobs, MissingBlobError
from app.batches.check import LONGEST, Checker, Splitter
from app.batches.model import InputLine, Job, LineAnswer, Order, State
from app.batches.output import Output
from app.batches.queue import Work
from app.batches.scheduling import narrower, pause, serial, wider
from app.core.loose_json import loads
from app.core.ports import PortError

log = logging.getLogger(__name__)
POLL = 0.5
"""Seconds between two looks at what is to be done."""
GATHER = 0.02
"""Seconds in which further lines may end before new ones are taken: each taking is a transaction."""
PATIENCE = 5.0
"""Seconds between attempts while database, file storage or gateways do not answer, at most."""
PAGE = 1_000
_WEARY = (429, 503, 529)
_WIDE = 64.0
"""Lines of a batch at once from which on its width is no longer minded."""


class Gateways(Protocol):
    """The gateways, seen from a worker (app.batches.runner.Lines). Raise whatever the way to them raises."""

    async def state(self) -> State: ...

    async def answer(self, order: Order) -> LineAnswer | None: ...


class Worker:
    """Runs for as long as `run` does. clock: Unix seconds."""

    def __init__(self, work: Work, blobs: Blobs, gateways: Gateways, clock: Callable[[], float] = time.time) -> None:
        self._work = work
        self._blobs = blobs
        self._gateways = gateways
        self._clock = clock
        self._output = Output(work, blobs, clock)
        self._lines: set[asyncio.Task[None]] = set()
        self._jobs: set[asyncio.Task[None]] = set()
        self._looked = -POLL
        self._widths: dict[str, float] = {}  # of batches whose tenant is near a limit: lines at once
        self._open: Counter[str] = Counter()  # lines on their way by batch

    async def run(self) -> None:
        """Until cancelled; what is on its way then is another worker's once its lease has ended."""
        beating = asyncio.ensure_future(self._beat())
        try:
            wait = POLL
            while True:
                try:
                    await self.turn()
                    wait = POLL
                except Exception as error:  # noqa: BLE001 - whatever does not answer may answer later
                    log.warning("batches wait: %s", error if isinstance(error, PortError) else type(error).__name__)
                    wait = min(wait * 2, PATIENCE)
                await self._rest(wait)
        finally:
            ending = [beating, *self._lines, *self._jobs]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)

    async def turn(self) -> bool:
        """Begin whatever can be begun now; whether any batch is open."""
        if time.monotonic() - self._looked >= POLL or not self._lines:
            if not await self._work.advance():
                self._widths.clear()
                return False
            self._looked = time.monotonic()
            if not self._jobs and (job := await self._work.job()):
                self._begin(self._jobs, self._do(job))
        free = (await self._gateways.state()).free_slots - len(self._lines)
        most = {batch: int(width) - self._open[batch] for batch, width in self._widths.items()}
        for line in await self._work.claim(free, most) if free > 0 else ():
            self._open[line.batch] += 1
            self._begin(self._lines, self._answer(line))
        return True

    async def _rest(self, wait: float) -> None:
        """Until something has ended, or for `wait` seconds."""
        tasks = self._lines | self._jobs
        if not tasks:
            await asyncio.sleep(wait)
        elif (await asyncio.wait(tasks, timeout=wait, return_when=asyncio.FIRST_COMPLETED))[0]:
            await asyncio.sleep(GATHER)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._work.lease / 4)
            if self._lines or self._jobs:
                try:
                    await self._work.beat()
                except PortError as error:
                    log.warning("a batch worker could not renew its leases: %s", error)

    @staticmethod
    def _begin(tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    # -- a line ------------------------------------------------------------------------------------

    async def _answer(self, line: InputLine) -> None:
        """Run it, and keep what became of it until the database has taken that."""
        try:
            kept = await self._ended(line)
        finally:
            self._open[line.batch] -= 1
            if not self._open[line.batch]:
                del self._open[line.batch]
        wait = POLL
        while True:
            try:
                return await kept()
            except PortError as error:
                log.warning("a batch line's result waits: %s", error)
            await asyncio.sleep(wait)
            wait = min(wait * 2, PATIENCE)

    async def _ended(self, line: InputLine) -> Callable[[], Coroutine[Any, Any, None]]:
        """What is to be written of it."""
        try:
            order = await self._order(line)
            answer = await self._gateways.answer(order)
        except MissingBlobError:
            return lambda: self._work.done(
                line, LineAnswer(0, "", _error("input_file_gone", "The input file is gone."))
            )
        except Exception as error:  # noqa: BLE001 - perhaps it ran, perhaps not: run again, it is the same call
            log.warning("batch line %s/%d runs again: %s", line.batch, line.number, type(error).__name__)
            return lambda: self._work.again(line, pause(line.attempt, None))
        if answer is None:
            return lambda: self._work.again(line)
        # More than the limit ever holds: OpenAI's error says it by its code, Anthropic's has none.
        hopeless = answer.useless and any(word in answer.body for word in (b'"rate_limit_exceeded"', b"too large for"))
        if answer.status not in _WEARY or hopeless:
            self._widen(line.batch)
            return lambda: self._work.done(line, answer)
        self._widths[line.batch] = narrower(self._widths.get(line.batch, float(self._open[line.batch])))
        return lambda: self._work.again(line, pause(line.attempt, answer.retry_after))

    def _widen(self, batch: str) -> None:
        if batch in self._widths:
            self._widths[batch] = wider(self._widths[batch])
            if self._widths[batch] >= _WIDE:
                del self._widths[batch]

    async def _order(self, line: InputLine) -> Order:
        text = await self._blobs.read(line.blob, line.start, line.size)
        body = orjson.dumps(loads(text)["body"])
        return Order(serial(line.batch, line.number, line.attempt), line.key_id, line.endpoint, body)

    # -- a batch's input and output ------------------------------------------------------------------

    async def _do(self, job: Job) -> None:
        try:
            await (self._output.write(job) if job.ending else self._read(job))
        except Exception as error:  # noqa: BLE001 - its lease ends, and it is done again
            log.warning("batch %s waits: %s", job.id, error if isinstance(error, PortError) else type(error).__name__)

    async def _read(self, job: Job) -> None:
        """Check the input and write its lines; begin or fail the batch."""
        state = await self._gateways.state()
        checker = Checker(job.endpoint, state.models.get(job.endpoint, ()), state.max_lines)
        lines = Splitter()
        try:
            async for data in self._blobs.stream(job.blob):
                for start, text in lines.feed(data):
                    checker.take(start, text)
                if lines.held > LONGEST:
                    checker.too_long()
                if checker.over or lines.held > LONGEST:
                    break
                if not await self._add(job, checker):
                    return
            else:
                checker.take(*lines.last())
        except MissingBlobError:
            checker.missing()
        checker.end()
        if checker.problems:
            await self._work.fail(job, checker.problems)
        elif await self._add(job, checker, all_=True):
            await self._work.begin(job, checker.total)

    async def _add(self, job: Job, checker: Checker, *, all_: bool = False) -> bool:
        """Write good lines, page by page, while nothing was bad. False: the batch is no longer this worker's."""
        while not checker.problems and (len(checker.entries) >= PAGE or (all_ and checker.entries)):
            page, checker.entries = checker.entries[:PAGE], checker.entries[PAGE:]
            if not await self._work.add(job, page):
                return False
        if checker.problems:
            checker.entries.clear()
        return True


def _error(code: str, message: str) -> bytes:
    return orjson.dumps({"code": code, "message": message})
