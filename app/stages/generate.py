"""Stream Tokens from a pool; before the first one, fail over to the next.  route -> [generate] -> moderate.

Reads Prompt; yields Token, Usage or Failure. Closing it aborts the generation in the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from app import errors
from app.call import Call
from app.config import Generate as Settings
from app.errors import ApiError
from app.events import Failure, Prompt, Token, Usage
from app.ports import Engine, EngineError, Generation
from app.rules.routing import Health, Menu
from app.stage import Events


class Generate:
    """`engines`: by pool name."""

    name = "generate"

    def __init__(self, engines: Mapping[str, Engine], menu: Menu, health: Health, settings: Settings) -> None:
        self._engines = engines
        self._menu = menu
        self._health = health
        self._settings = settings

    async def __call__(self, call: Call, events: Events) -> Events:
        async with aclosing(events):
            async for event in events:
                if not isinstance(event, Prompt):
                    yield event
                    continue
                with call.timed(self.name):
                    async with aclosing(self._answer(call, event)) as answer:
                        async for piece in answer:
                            yield piece

    async def _answer(self, call: Call, prompt: Prompt) -> Events:
        for attempt, pool in enumerate(call.plan):
            call.pool, call.region = pool, self._menu.regions[pool]
            call.note(self.name, pool=pool, attempts=attempt + 1)
            failure = None
            last = attempt + 1 == len(call.plan)
            async with aclosing(self._from(pool, call, prompt, last=last)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, EngineError):
                        failure = piece
                        break
                    yield piece
            if failure is None:
                return
            if not failure.retryable or call.first_token is not None:
                yield Failure(self._client_error(failure, pool))
                return
            self._health.failed(pool)
        call.pool = call.region = None
        yield Failure(errors.no_pool(call.tier or prompt.model))

    async def _from(self, pool: str, call: Call, prompt: Prompt, *, last: bool) -> Any:
        """One pool's Tokens and Usage; its EngineError is yielded last, not raised, so that the caller decides."""
        request = Generation(
            call.id,
            prompt.messages,
            self._params(pool, call, prompt),
            salt=call.who.tenant,
            raw=prompt.raw,
            background=call.batch,
        )
        try:
            async with aclosing(self._engines[pool].generate(request)) as stream:
                while True:
                    async with asyncio.timeout(self._patience(call, last=last)):
                        piece = await anext(stream, None)
                    if piece is None:
                        return
                    if isinstance(piece, Usage):
                        call.usage = piece
                    elif isinstance(piece, Token):
                        if call.first_token is None:
                            self._health.answered(pool)
                        call.token()
                    yield piece
        except TimeoutError:
            late = call.remaining <= 0
            yield EngineError(
                "the deadline passed" if late else "the pool stayed silent", retryable=not late, code="timeout"
            )
        except EngineError as error:
            yield error

    def _patience(self, call: Call, *, last: bool) -> float:
        """Seconds to wait for the next piece. Serve queues a call for a pool whose replica is being replaced."""
        if call.first_token is not None:
            return max(0.0, call.remaining)
        return max(0.0, min(self._settings.first_token if last else self._settings.failover, call.remaining))

    def _params(self, pool: str, call: Call, prompt: Prompt) -> dict[str, Any]:
        """The caller's params with `max_tokens` always set, within what was reserved and what the pool holds."""
        params = {k: v for k, v in prompt.params.items() if k not in ("max_tokens", "max_completion_tokens")}
        asked = prompt.params.get("max_completion_tokens") or prompt.params.get("max_tokens")
        room = max(1, self._menu.context[pool] - call.prompt_tokens_high)
        return {**params, "max_tokens": asked or min(call.max_completion, room)}

    def _client_error(self, failure: EngineError, pool: str) -> ApiError:
        if failure.code == "timeout":
            return errors.timed_out(self._settings.deadline)
        if failure.code == "context_length_exceeded":
            return errors.context_length(self._menu.context[pool], detail=failure.message)
        if failure.retryable:
            return replace(errors.overloaded(), message="The engine was lost while it answered. Please try again.")
        return errors.bad_request(failure.message, param=failure.param, code=failure.code)
