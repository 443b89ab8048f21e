"""Group commit: what waits while one transaction runs goes into the next. ledger -> [group_commit] -> database.

A commit costs about the same for one operation as for a hundred, so the more that wait, the cheaper each becomes;
an operation that comes alone does not wait at all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Op = TypeVar("Op")
Result = TypeVar("Result")


class Batcher(Generic[Op, Result]):
    """Runs operations in the order they came, many at a time, one batch after the other."""

    def __init__(
        self,
        run: Callable[[Sequence[Op]], Awaitable[Sequence[Result | BaseException]]],
        *,
        size: int = 256,
        abandoned: Callable[[Op, Result | None], bool] = lambda _op, _result: True,
    ) -> None:
        """run: one result, or exception, for each operation. size: the most in one batch.

        abandoned: told when the one who asked has gone, before the operation ran (None) and after (its result);
        before, False means that it runs all the same.
        """
        self._run = run
        self._size = size
        self._abandoned = abandoned
        self._waiting: deque[tuple[Op, asyncio.Future[Result]]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, op: Op) -> Result:
        """Return the operation's result. Raises what it, or its whole batch, raised."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.post(op, future)
        try:
            return await future
        except asyncio.CancelledError:
            if not future.cancelled() and future.exception() is None:  # it ran, and its result reaches nobody
                self._abandoned(op, future.result())
            raise

    def post(self, op: Op, future: asyncio.Future[Result]) -> None:
        """Queue the operation; `future` gets its result."""
        self._waiting.append((op, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._drain())

    async def close(self) -> None:
        """Wait until everything queued has run."""
        while self._worker is not None and not self._worker.done():
            await asyncio.wait({self._worker})

    async def _drain(self) -> None:
        while self._waiting:
            taken = [self._waiting.popleft() for _ in range(min(self._size, len(self._waiting)))]
            batch = [pair for pair in taken if not (pair[1].cancelled() and self._abandoned(pair[0], None))]
            if not batch:
                continue
            try:
                results = await self._run([op for op, _ in batch])
            except Exception as error:  # noqa: BLE001 - it belongs to those who wait
                results = [error] * len(batch)
            for (op, future), result in zip(batch, results, strict=True):
                self._answer(op, future, result)

    def _answer(self, op: Op, future: asyncio.Future[Result], result: Result | BaseException) -> None:
        if isinstance(result, BaseException):
            if not future.done():
                future.set_exception(result)
        elif future.done():
            self._abandoned(op, result)
        else:
            future.set_result(result)
