"""Responses that are made while nobody waits (`background: true`).  route -> [background] -> gateway, stored responses.

The response is stored before the caller hears of it, and again when it has ended, however that was. What a gateway did
not live to end is told as failed once no call could still be on its way. A response that was deleted or cancelled, at
this gateway or another, is stopped, and is not stored again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from app.api.answer import ends_call
from app.api.openai.responses.answer import Draft
from app.api.stored.responses import RUNNING, Responses, StoredResponse
from app.core import errors
from app.core.call import Call
from app.core.errors import ApiError
from app.core.events import Refusal, Token
from app.core.owner import Owner
from app.core.ports import PortError
from app.core.stage import Events
from app.core.tasks import begin
from app.pipeline.gateway import Gateway

log = logging.getLogger(__name__)
LOOKS = 2.0
"""Seconds between two looks whether it is still wanted."""
GRACE = 60.0
"""Seconds after a call's deadline in which its end is stored."""


@dataclass
class Runs:
    """The responses that this process makes, by id."""

    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def start(self, gateway: Gateway, call: Call, events: Events, draft: Draft) -> dict[str, Any]:
        """Begin; the response as it is now. Raises LedgerError, and ApiError (400) where none can be stored."""
        queued = draft.body(call.model, "queued")
        try:
            stored = await draft.keep(queued)
        except BaseException:
            await events.aclose()
            raise
        if not stored:
            await events.aclose()
            raise errors.unsupported("background", "A background response is stored, and nothing is stored here.")
        work = begin(_Run(gateway, call, events, draft).run())
        self.tasks[draft.id] = work
        work.add_done_callback(lambda _: self.tasks.pop(draft.id, None))
        return queued

    def stop(self, response_id: str) -> None:
        """Cancel it, where it is made here; another gateway sees what was stored."""
        if task := self.tasks.get(response_id):
            task.cancel()


@dataclass
class _Run:
    gateway: Gateway
    call: Call
    events: Events
    draft: Draft

    async def run(self) -> None:
        """To the end, or until nobody wants it any more."""
        self.gateway.in_flight += 1
        making, watching = (asyncio.ensure_future(work) for work in (self._make(), self._unwanted()))
        try:
            await asyncio.wait({making, watching}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass  # who cancelled it has stored that
        finally:
            for task in (making, watching):
                task.cancel()
            await asyncio.gather(making, watching, return_exceptions=True)
            self.gateway.in_flight -= 1

    async def _make(self) -> None:
        try:
            fault = await self._events()
            await self.draft.ended(self._ended(fault))
        except PortError as error:
            log.error("background response %s was not stored: %s", self.draft.id, error)  # noqa: TRY400 - all is said
        except Exception:
            log.exception("background response %s broke", self.draft.id)
            await self.draft.ended(self._ended(errors.internal()))

    async def _events(self) -> ApiError | None:
        """Take all of them in; why there is no answer."""
        output = self.draft.output
        async with aclosing(self.events):
            async for event in self.events:
                if error := ends_call(event):
                    return error
                if isinstance(event, Token):
                    list(output.add(event))
                elif isinstance(event, Refusal):
                    output.stop("content_filter")
        list(output.end())
        return output.fault

    def _ended(self, fault: ApiError | None) -> dict[str, Any]:
        model = self.gateway.catalog.model_ids.get(self.call.pool or "", self.call.tier or self.call.model)
        return self.draft.body(model, "failed" if fault else self.draft.output.status, fault)

    async def _unwanted(self) -> None:
        """Returns once nobody wants it."""
        while True:
            await asyncio.sleep(LOOKS)
            try:
                if not await self._wanted():
                    return
            except PortError:
                continue  # it is asked again

    async def _wanted(self) -> bool:
        found = await self.draft.kept()
        return found is not None and found.response["status"] in RUNNING


def as_it_stands(stored: StoredResponse, deadline: float, now: float) -> Mapping[str, Any]:
    """The response as it is told. deadline: seconds that a call may take; now: Unix seconds."""
    told = stored.response
    if told["status"] in RUNNING and now > told["created_at"] + deadline + GRACE:
        lost = {"code": "server_error", "message": "The gateway that made this response was lost. Please try again."}
        return {**told, "status": "failed", "error": lost}
    return told


async def cancel(responses: Responses, runs: Runs, owner: Owner, stored: StoredResponse) -> Mapping[str, Any]:
    """The response, cancelled if it had not ended. Raises ApiError (400), LedgerError."""
    told = stored.response
    if not told.get("background"):
        said = "Only a response that was made with `background` can be cancelled."
        raise errors.bad_request(said, "response_id", "response_not_cancellable")
    if told["status"] in RUNNING:
        found = await responses.end(owner, {**told, "status": "cancelled"})
        if found is None:
            raise errors.response_not_found(str(told["id"]))
        told = found.response
        runs.stop(str(told["id"]))
    return told
