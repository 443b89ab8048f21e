"""The answer of a call without an engine: what was found, as one JSON object.  embeddings, moderations -> [judged]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from starlette.types import Send

from app.api.answer import CallResponse, ends_call, send_error, send_json
from app.api.headers import of_call
from app.core.call import Call
from app.core.errors import ApiError
from app.core.events import Judged
from app.core.stage import Events
from app.pipeline.gateway import Gateway

Shape = Callable[[Sequence[Any]], dict[str, Any]]


class JudgedAnswer(CallResponse):
    """`shape`: what was found -> the body. It is asked once the call is settled."""

    def __init__(self, gateway: Gateway, call: Call, events: Events, shape: Shape) -> None:
        super().__init__(gateway, call, events)
        self._shape = shape

    async def _run(self, send: Send) -> None:
        found = await judged(self.events)
        if isinstance(found, ApiError):
            await send_error(send, found, self.call)
            return
        await send_json(send, 200, self._shape(found), of_call(self.call, settled=True))


async def judged(events: Events) -> Sequence[Any] | ApiError:
    """What was found, or the error that ended the call."""
    found: Sequence[Any] = ()
    async for event in events:
        if error := ends_call(event):
            await events.aclose()
            return error
        if isinstance(event, Judged):
            found = event.results
    return found
