"""Stream Tokens from a pool; before the first one fail over to the next, after it continue elsewhere what was said.

route -> [generate] -> moderate.  Reads Prompt; yields Token, Usage or Failure. Closing it aborts the generation in the
engine. Of a call whose engine was lost in the middle, the caller sees one answer and is billed for one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace

from app.config import Generate as Settings
from app.core import errors
from app.core.call import Call
from app.core.decisions import GenerateDecision
from app.core.errors import ApiError
from app.core.events import Event, Failure, Prompt, Token, Usage
from app.core.ports import REPLICA_LOST, Engine, EngineError, Generation
from app.core.stage import Events
from app.core.turns import ordered
from app.engines.resume import CANNOT_RESUME
from app.engines.tokenizer import estimate
from app.pipeline.assembly import Assembly
from app.pipeline.engine_faults import logged, refused
from app.pipeline.metering import Meter, MeteredAnswer
from app.routing.catalog import Health, ModelCatalog
from app.routing.poison import Poison

log = logging.getLogger(__name__)
Pieces = AsyncGenerator[Event | EngineError, None]


class Generate:
    """`engines`: by pool name."""

    name = "generate"

    def __init__(
        self,
        engines: Mapping[str, Engine],
        catalog: ModelCatalog,
        health: Health,
        settings: Settings,
        *,
        poison: Poison | None = None,
        count: Callable[[str], int] = estimate,
    ) -> None:
        """poison: what is known of requests that lost engines; it outlives a change of the policy.

        count: text -> tokens, for what an engine does not tell.
        """
        self._engines = engines
        self._catalog = catalog
        self._health = health
        self._settings = settings
        self._poison = poison or Poison()
        self._count = count

    @classmethod
    def of(cls, parts: Assembly) -> Generate:
        ports = parts.ports
        settings = parts.policy.generate
        return cls(ports.engines, parts.catalog, parts.health, settings, poison=ports.poison, count=ports.count)

    async def __call__(self, call: Call, events: Events) -> Events:
        async with aclosing(events):
            async for event in events:
                if not isinstance(event, Prompt):
                    yield event
                    continue
                meter, whole = Meter(call, event, self._catalog, self._count), False
                try:
                    with call.timed(self.name):
                        async with aclosing(self._answer(call, event, meter)) as answer:
                            async for piece in answer:
                                yield piece
                    whole = True
                finally:
                    meter.close(whole=whole)

    async def _answer(self, call: Call, prompt: Prompt, meter: Meter) -> Events:
        """The first pool of the plan that answers; should it be lost while it does, the rest from others."""
        answer = MeteredAnswer(prompt, meter)
        codes: set[str | None] = set()
        for attempt, pool in enumerate(call.plan):
            if self._poison.refuses(prompt):
                break
            call.pool, call.region = pool, self._catalog.regions[pool]
            call.decisions.generate = GenerateDecision(pool, attempt + 1)
            answer.part(None)
            meter.given()
            failure = None
            last = attempt + 1 == len(call.plan)
            request = self._request(pool, call, prompt)
            async with aclosing(self._part(pool, call, request, answer, last=last)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, EngineError):
                        failure = piece
                    else:
                        yield piece
            self._learn(prompt, answer, failure)
            if failure is None:
                return
            meter.abandoned(pool, failure)
            log.warning("call %s: pool %s: %s (%s)", call.id, pool, logged(failure, prompt), failure.code)
            if not failure.retryable:
                yield Failure(self._client_error(failure, call, prompt))
                return
            if answer.begun:
                async with aclosing(self._recovered(call, prompt, answer, pool)) as rest:
                    async for event in rest:
                        yield event
                return
            codes.add(failure.code)
            if failure.code != CANNOT_RESUME:
                self._health.failed(pool)
        yield self._exhausted(call, prompt, codes)

    def _exhausted(self, call: Call, prompt: Prompt, codes: set[str | None]) -> Failure:
        """Why there is no answer, when no pool gave one. codes: of the pools' errors."""
        call.pool = call.region = None
        if codes == {CANNOT_RESUME}:
            return Failure(errors.cannot_continue())
        poisonous = self._poison.refuses(prompt)
        if poisonous:
            before = call.decisions.generate or GenerateDecision(None, 0)
            call.decisions.generate = replace(before, poison=True)
        return Failure(errors.engines_lost() if poisonous else errors.no_pool(call.tier or prompt.model))

    def _learn(self, prompt: Prompt, answer: MeteredAnswer, failure: EngineError | None) -> None:
        """Whether the engine was lost with this request before its first token."""
        if answer.begun or failure is None:
            self._poison.answered(prompt)
        elif failure.code == REPLICA_LOST:
            self._poison.lost(prompt)

    async def _recovered(self, call: Call, prompt: Prompt, answer: MeteredAnswer, lost: str) -> Events:
        """The rest of every unfinished choice, one by one, from the engines that come next; or why there is none."""
        if answer.obstacle:
            yield Failure(errors.engine_lost(answer.obstacle))
            return
        pools, losses = self._successors(call, lost), 1
        choices = deque(answer.unfinished)
        while choices:
            if not pools or losses > self._settings.recoveries:
                yield Failure(errors.engine_lost())
                return
            failure = None
            async with aclosing(self._rest(pools[0], call, prompt, answer, (choices[0], losses))) as pieces:
                async for piece in pieces:
                    if isinstance(piece, EngineError):
                        failure = piece
                    else:
                        yield piece
            if failure is None:
                choices.popleft()
            elif not failure.retryable:
                late = failure.code == "timeout"
                yield Failure(errors.timed_out(self._settings.deadline) if late else errors.engine_lost())
                return
            elif failure.code == CANNOT_RESUME:
                pools.popleft()
            else:
                losses += 1
                pools.rotate(-1)

    def _successors(self, call: Call, lost: str) -> deque[str]:
        """Who is asked to go on: the plan's next pools, then the lost one itself (it may have other replicas); those
        of the same model first.
        """
        at = call.plan.index(lost) + 1
        model = self._catalog.model_ids[lost]
        turned = (*call.plan[at:], *call.plan[:at])
        return deque(sorted(turned, key=lambda pool: self._catalog.model_ids[pool] != model))

    async def _rest(
        self, pool: str, call: Call, prompt: Prompt, answer: MeteredAnswer, which: tuple[int, int]
    ) -> Pieces:
        """One choice's rest from this pool. which: the choice, and how many engines were lost before."""
        choice, losses = which
        answer.part(choice)
        request = answer.rest(self._request(pool, call, prompt), choice)
        if request.params["max_tokens"] <= 0:  # only its end was lost
            yield answer.took(Token("", finish_reason="length"))
            return
        request = replace(request, call_id=f"{call.id}.{losses}.{choice}")
        answer.meter.again(pool)
        began = False
        async with aclosing(self._part(pool, call, request, answer, last=len(call.plan) == 1)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Token) and not began:
                    began = True
                    call.pool, call.region = pool, self._catalog.regions[pool]
                    if before := call.decisions.generate:
                        call.decisions.generate = replace(before, pool=pool, recovered=losses)
                yield piece

    async def _part(self, pool: str, call: Call, request: Generation, answer: MeteredAnswer, *, last: bool) -> Pieces:
        """One pool's Tokens and Usage; its EngineError is yielded last, not raised, so that the caller decides."""
        began = False
        try:
            async with aclosing(self._engines[pool].generate(request)) as stream:
                while True:
                    async with asyncio.timeout(self._patience(call, began=began, last=last)):
                        said = await anext(stream, None)
                    if said is None:
                        return
                    piece = answer.took(said)
                    if not isinstance(piece, Usage):
                        if not began:
                            self._health.answered(pool)
                        began = True
                        call.token()
                    yield piece
        except TimeoutError:
            late = call.remaining <= 0
            yield EngineError(
                "the deadline passed" if late else "the pool stayed silent", retryable=not late, code="timeout"
            )
        except EngineError as error:
            yield error

    def _patience(self, call: Call, *, began: bool, last: bool) -> float:
        """Seconds to wait for the next piece. Serve queues a call for a pool whose replica is being replaced."""
        if began:
            return max(0.0, call.remaining)
        return max(0.0, min(self._settings.first_token if last else self._settings.failover, call.remaining))

    def _request(self, pool: str, call: Call, prompt: Prompt) -> Generation:
        """The whole request, with `max_tokens` always set, within what was reserved and what the pool holds."""
        params = {k: v for k, v in prompt.params.items() if k not in ("max_tokens", "max_completion_tokens")}
        asked = prompt.params.get("max_completion_tokens") or prompt.params.get("max_tokens")
        stage = max(1, self._catalog.context[pool] - call.prompt_tokens_high)
        limit = asked or min(call.max_completion, stage)
        if prompt.clamps and asked:
            limit = min(asked, call.max_completion, stage)
            call.clamped = limit if limit < asked else call.clamped
        return Generation(
            call.id,
            prompt.messages if prompt.raw else ordered(prompt.messages),
            {**params, "max_tokens": limit},
            salt=call.who.tenant,
            raw=prompt.raw,
            resume=prompt.resume,
            background=call.batch,
        )

    def _client_error(self, failure: EngineError, call: Call, prompt: Prompt) -> ApiError:
        if failure.code == "timeout":
            return errors.timed_out(self._settings.deadline)
        if failure.code == "context_length_exceeded":
            return errors.context_length(self._catalog.context[call.pool or ""], call.prompt_tokens_low)
        return refused(failure, prompt)
