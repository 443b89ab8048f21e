"""Bill, count and log every call exactly once, whatever became of it.  restore -> [settle] -> the client.

Reads everything; yields everything, and turns what broke on the way into a Failure.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from contextlib import aclosing
from decimal import Decimal

import orjson

from app.billing.costs import cost_of_goods
from app.billing.pricing import FREE, charge
from app.core import errors
from app.core.call import Call
from app.core.errors import ApiError
from app.core.events import Event, Failure, Refusal, Token, Usage
from app.core.ports import Contents, PortError, SettlementOutbox, UsageRow
from app.core.stage import Events
from app.core.tasks import begin
from app.pipeline.assembly import Assembly
from app.pipeline.ports import Observe
from app.routing.catalog import ModelCatalog

log = logging.getLogger(__name__)


class Settle:
    """`observe`: called with every row, and its call, once it is handed to the outbox (metrics, traces, log)."""

    name = "settle"

    def __init__(self, outbox: SettlementOutbox, contents: Contents, catalog: ModelCatalog, observe: Observe) -> None:
        self._outbox = outbox
        self._contents = contents
        self._catalog = catalog
        self._observe = observe

    @classmethod
    def of(cls, parts: Assembly) -> Settle:
        ports = parts.ports
        return cls(ports.outbox, ports.contents, parts.catalog, ports.observe)

    async def __call__(self, call: Call, events: Events) -> Events:
        end: Event | None = None
        finished = False
        said: list[str] | None = [] if call.who.keeps_content else None
        self._outbox.open(call.id, lambda: self._row(call, "lost", None))
        try:
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, Refusal | Failure):
                        end = event
                    elif isinstance(event, Token):
                        if call.first_sent is None:
                            call.first_sent = time.monotonic()
                        if said is not None and not event.reasoning:
                            said.append(event.text)
                    yield event
            finished = True
        except Exception as error:  # noqa: BLE001 - the last stage: nothing may pass unbilled, nor unexplained
            end = Failure(explain(error, call))
            finished = True
            yield end
        finally:
            call.close()
            # Who reads a Refusal or Failure reads no further: that is no hang-up.
            over = isinstance(end, Failure) or (isinstance(end, Refusal) and end.choice is None)
            row = self._row(call, _outcome(call, end, hangup=not (finished or over)), end)
            call.cost = str(row.cost)
            # A task of its own: a hang-up cancels this one, and the row must be written all the same.
            await asyncio.shield(begin(self._write(call, row, said)))

    async def _write(self, call: Call, row: UsageRow, said: list[str] | None) -> None:
        with call.timed(self.name):
            await self._outbox.close(row)
        self._observe(row, call)
        if said is not None:
            body = {"messages": [message.wire() for message in call.messages], "answer": "".join(said)}
            try:
                await self._contents.keep(row.tenant, row.id, row.created, orjson.dumps(body, default=str))
            except Exception as error:  # noqa: BLE001 - the call itself is billed and answered
                log.error("call %s: its content was not kept: %s", row.id, type(error).__name__)  # noqa: TRY400

    def _row(self, call: Call, outcome: str, end: Event | None) -> UsageRow:
        usage, now = call.usage, time.monotonic()
        model_id = self._catalog.model_ids.get(call.pool or "")
        price = self._catalog.prices.price(call.who.price_list, call.tier, model_id)
        spent = charge(price, usage.prompt, usage.cached, usage.completion, hit=call.hit, batch=call.batch)
        if call.empty or (outcome == "failed" and not call.streamed):
            spent = charge(FREE, 0, 0, 0)  # nothing of it has reached the caller
        return UsageRow(
            id=call.id,
            created=call.created,
            tenant=call.who.tenant,
            key_id=call.who.key_id,
            model=call.model,
            tier=call.tier,
            pool=call.pool,
            region=call.region,
            outcome=outcome,
            refused_by=end.stage if isinstance(end, Refusal) else _throttled(call),
            prompt_tokens=usage.prompt,
            cached_tokens=usage.cached,
            completion_tokens=usage.completion,
            cost=spent.total,
            price_list=self._catalog.prices.version(call.who.price_list),
            ttft=None if call.first_sent is None else call.first_sent - call.started,
            latency=now - call.started,
            trail={**call.trail, **_times(call)},
            project=call.who.project,
            model_id=model_id,
            batch=call.batch,
            input_cost=spent.input,
            cached_cost=spent.cached,
            output_cost=spent.output,
            goods=Decimal(0) if call.hit else self._goods(call.pool, call.told or usage),
            lost=sum((self._goods(pool, used) for pool, used in call.lost), Decimal(0)),
            estimated=usage.estimated,
            cut=call.cut,
        )

    def _goods(self, pool: str | None, used: Usage) -> Decimal:
        return cost_of_goods(self._catalog.costs.get(pool or ""), used.prompt, used.cached, used.completion)


def _times(call: Call) -> dict[str, dict[str, float]]:
    """By stage, milliseconds: `timing`, how long it made the call wait; `started`, when it first did, from arrival."""
    return {
        "timing": {stage: round((end - start) * 1000, 3) for stage, start, end in call.spans},
        "started": {stage: round((start - call.started) * 1000, 3) for stage, start, _ in call.spans},
    }


def _throttled(call: Call) -> str | None:
    """The stage that let a call pass for which its key is to be slowed down: a strike."""
    findings = (("guard", call.decisions.guard), ("leak", call.decisions.leak))
    return next((f"{stage}.throttle" for stage, made in findings if made and made.action == "throttle"), None)


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
        return errors.stage_unavailable(error.port)
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("call %s: %s\n%s", call.id, type(error).__name__, frames)
    return errors.internal()
