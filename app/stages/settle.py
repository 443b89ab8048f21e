"""Bill, count and log every call exactly once, whatever became of it.  restore -> [settle] -> the client.

Reads everything; yields everything, and turns what broke on the way into a Failure.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import aclosing
from decimal import Decimal

import orjson

from app import errors
from app.call import Call
from app.errors import ApiError
from app.events import Event, Failure, Refusal, Token
from app.ports import Ledger, PortError, UsageRow
from app.rules.pricing import Price, cost
from app.stage import Events

log = logging.getLogger(__name__)


class Settle:
    """`observe`: called with every row once it is written (metrics)."""

    name = "settle"

    def __init__(
        self, ledger: Ledger, prices: Mapping[str, Price], price_list: str, observe: Callable[[UsageRow], None]
    ) -> None:
        self._ledger = ledger
        self._prices = prices
        self._price_list = price_list
        self._observe = observe

    async def __call__(self, call: Call, events: Events) -> Events:
        end: Event | None = None
        finished = False
        try:
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, Refusal | Failure):
                        end = event
                    elif isinstance(event, Token) and call.first_token is None:
                        call.first_token = time.monotonic()
                    yield event
            finished = True
        except Exception as error:  # noqa: BLE001 - the last room: nothing may pass unbilled, nor unexplained
            end = Failure(explain(error, call))
            finished = True
            yield end
        finally:
            call.close()
            row = self._row(call, end, hangup=not finished)
            call.cost = str(row.cost)
            # A task of its own: a hang-up cancels this one, and the row must be written all the same.
            await asyncio.shield(_keep(asyncio.ensure_future(self._write(call, row))))

    async def _write(self, call: Call, row: UsageRow) -> None:
        try:
            await self._ledger.settle(call.reservation, row)
        except Exception as error:  # noqa: BLE001 - the client has its answer; the row must be found in the log
            written = orjson.dumps({name: getattr(row, name) for name in row.__slots__}, default=str).decode()
            log.critical("usage row not written (%s): %s", error, written)
        self._observe(row)

    def _row(self, call: Call, end: Event | None, *, hangup: bool) -> UsageRow:
        usage, now = call.usage, time.monotonic()
        price = self._prices.get(call.tier or "")
        spent = Decimal(0)
        if price is not None:
            spent = cost(price, usage.prompt, usage.cached, usage.completion, hit=call.hit)
        return UsageRow(
            id=call.id,
            created=call.created,
            tenant=call.who.tenant,
            key_id=call.who.key_id,
            model=call.model,
            tier=call.tier,
            pool=call.pool,
            region=call.region,
            outcome=_outcome(call, end, hangup=hangup),
            refused_by=end.room if isinstance(end, Refusal) else None,
            prompt_tokens=usage.prompt,
            cached_tokens=usage.cached,
            completion_tokens=usage.completion,
            cost=spent,
            price_list=self._price_list,
            ttft=None if call.first_token is None else call.first_token - call.started,
            latency=now - call.started,
            trail=call.trail,
        )


def _outcome(call: Call, end: Event | None, *, hangup: bool) -> str:
    if hangup:
        return "hangup"
    if isinstance(end, Failure):
        return "failed"
    if isinstance(end, Refusal):
        return "refused"
    return "hit" if call.hit else "ok"


def explain(error: Exception, call: Call) -> ApiError:
    """The client's error for an exception. Logs where it happened, never its message: that may quote the prompt."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, PortError):
        log.error("call %s: %s", call.id, error)
        return errors.room_unavailable(error.port)
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("call %s: %s\n%s", call.id, type(error).__name__, frames)
    return errors.internal()


_pending: set[asyncio.Task[None]] = set()


def _keep(task: asyncio.Task[None]) -> asyncio.Task[None]:
    """Hold a strong reference until the task ends: the loop itself holds only a weak one."""
    _pending.add(task)
    task.add_done_callback(_pending.discard)
    return task


async def drain() -> None:
    """Wait until every settlement that was begun is written. For shutdown."""
    while _pending:
        await asyncio.wait(set(_pending))
