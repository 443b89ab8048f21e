"""Run a model's blocking calls in one thread of its own.

Every torch adapter owns a Worker: torch never blocks the event loop, a model is never entered twice at once, and its
number of threads is set where its calculations run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """One thread, first come first served. threads: how many torch may use for one call (more is often slower);
    None for work without torch, which is then not imported.
    """

    def __init__(self, name: str, threads: int | None = 1) -> None:
        self._pool = ThreadPoolExecutor(1, name, initializer=_limit, initargs=(threads,))

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """Call `work(*args)` in the thread and await what it returns or raises."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)

    def wait(self, work: Callable[..., T], *args: Any) -> T:
        """The same where there is no event loop: while loading."""
        return self._pool.submit(work, *args).result()


def _limit(threads: int | None) -> None:
    if threads is None:
        return
    import torch

    torch.set_num_threads(threads)
