"""A call as a Response: one JSON object, or OpenAI's stream of named events.  route -> [answer] -> output, storage.

A response that is to be stored is, before its last byte goes out: whoever has it can go on from it at once.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping
from typing import Any

from starlette.types import Send

from app.api.answer import CallResponse, ends_call, send_error, send_json
from app.api.headers import of_call
from app.api.ignored import ignored_header
from app.api.openai.responses.compaction import Summary
from app.api.openai.responses.items import Conversation
from app.api.openai.responses.output import Output
from app.api.openai.responses.request import ResponsesRequest
from app.api.openai.responses.tools import Toolbox
from app.api.openai.responses.words import in_responses_words
from app.api.sse import EventStream, Piece, named
from app.api.stored.compactions import Compactions
from app.api.stored.responses import Responses, StoredResponse
from app.core.call import Call
from app.core.errors import ApiError
from app.core.events import Refusal, Token
from app.core.ports import PortError
from app.core.stage import Events
from app.pipeline.gateway import Gateway

log = logging.getLogger(__name__)


KINDS = {"message": "msg", "function_call": "fc", "custom_tool_call": "ctc"}
"""How the ids of items begin."""


class Draft:
    """The response object, as it stands at any moment. conversation: what it is made from. box: its tools.

    An item's id holds the response's, so that a later request's reference leads to the response.
    """

    def __init__(  # noqa: PLR0917 - what an answer is made from, and where it goes
        self,
        asked: ResponsesRequest,
        call: Call,
        conversation: Conversation,
        box: Toolbox,
        kept: Responses | None,
        compactions: Compactions,
    ) -> None:
        self._call = call
        self._serial = call.id.rpartition("-")[2]
        self.id = f"resp_{self._serial}"
        self.output: Output | Summary = Output(self._new_id, box.origins)
        if conversation.compacts:
            self.output = Summary(self._new_id, lambda text: compactions.seal(call.who.owner, text))
        self.headers = ignored_header([*conversation.left_out, *box.left_out])
        self._items = [{**item, "id": item["id"] or self._new_id(_kind(item))} for item in conversation.items]
        self._kept = kept if asked.store is not False else None
        self._echo = asked.echo()

    def _new_id(self, kind: str) -> str:
        return f"{kind}_{self._serial}{secrets.token_hex(4)}"

    def body(self, model: str, status: str, error: ApiError | None = None) -> dict[str, Any]:
        """The object. error: why it failed."""
        ended = status not in ("queued", "in_progress")
        why = self.output.incomplete if status == "incomplete" else None
        return {
            "id": self.id,
            "object": "response",
            "created_at": int(self._call.created),
            "status": status,
            "completed_at": int(time.time()) if status == "completed" else None,
            "error": {"code": _code(error), "message": error.message} if error else None,
            "incomplete_details": {"reason": why} if why else None,
            "model": model,
            "output": self.output.items,
            "store": self._kept is not None,
            "usage": _usage(self._call) if ended else None,
            **self._echo,
        }

    async def keep(self, body: Mapping[str, Any]) -> bool:
        """Store it as it is now; whether it is. Raises LedgerError."""
        return self._kept is not None and await self._kept.keep(self._call.who.owner, StoredResponse(body, self._items))

    async def ended(self, body: Mapping[str, Any]) -> None:
        """Store how it ended, unless it has ended in another way, or is gone. Raises LedgerError."""
        if self._kept:
            await self._kept.end(self._call.who.owner, body)

    async def kept(self) -> StoredResponse | None:
        """What of it is stored. Raises LedgerError."""
        return await self._kept.read(self._call.who.owner, self.id) if self._kept else None

    async def end(self, model: str) -> dict[str, Any]:
        """The whole object, stored if it is to be. It says `store: false` where that could not be done."""
        whole = self.body(model, self.output.status)
        if self._kept is not None:
            try:
                whole["store"] = await self.keep(whole)
            except PortError as error:  # it is answered and billed all the same
                log.error("response %s was not stored: %s", self.id, error)  # noqa: TRY400 - the sentence says it all
                whole["store"] = False
        return whole


class ResponseAnswer(CallResponse):
    """The whole response as one JSON object."""

    def __init__(self, gateway: Gateway, call: Call, events: Events, draft: Draft) -> None:
        super().__init__(gateway, call, events)
        self._draft = draft

    async def _run(self, send: Send) -> None:
        output = self._draft.output
        async for event in self.events:
            if error := ends_call(event):
                await self.events.aclose()
                await send_error(send, in_responses_words(error), self.call)
                return
            if isinstance(event, Token):
                list(output.add(event))
            elif isinstance(event, Refusal):
                output.stop("content_filter")
        list(output.end())
        headers = of_call(self.call, settled=True) | self._draft.headers
        if output.fault:
            await send_error(send, output.fault, self.call)
            return
        await send_json(send, 200, await self._whole(), headers)

    async def _whole(self) -> dict[str, Any]:
        return await self._draft.end(self.model)


class CompactAnswer(ResponseAnswer):
    """`POST /v1/responses/compact`: the summary alone. Nothing of it is stored."""

    async def _whole(self) -> dict[str, Any]:
        whole = self._draft.body(self.model, "completed")
        about = {"id": whole["id"], "object": "response.compaction", "created_at": whole["created_at"]}
        return {**about, "output": whole["output"], "usage": whole["usage"]}


class ResponseStream(EventStream):
    """The response as it grows."""

    def __init__(self, gateway: Gateway, call: Call, events: Events, draft: Draft) -> None:
        super().__init__(gateway, call, events)
        self._draft = draft
        self._number = -1

    def head(self) -> dict[str, str]:
        """Its headers."""
        return super().head() | self._draft.headers

    def opening(self) -> bytes:
        """That it was created, and is being made."""
        body = self._draft.body(self.model, "in_progress")
        names = ("response.created", "response.in_progress")
        return b"".join(self._event(name, {"response": body}) for name in names)

    def piece(self, event: Piece) -> bytes:
        """What a Token does to the items."""
        if isinstance(event, Refusal):
            self._draft.output.stop("content_filter")
            return b""
        return b"".join(self._event(*happening) for happening in self._draft.output.add(event))

    async def ending(self) -> bytes:
        """The last item's end, and the whole."""
        body = b"".join(self._event(*happening) for happening in self._draft.output.end())
        if self._draft.output.fault:
            return body + self.broken(self._draft.output.fault)
        whole = await self._draft.end(self.model)
        return body + self._event(f"response.{whole['status']}", {"response": whole})

    async def refused(self, send: Send, error: ApiError) -> None:
        """By this API's names."""
        await super().refused(send, in_responses_words(error))

    def broken(self, error: ApiError) -> bytes:
        """The whole, failed."""
        body = self._draft.body(self.model, "failed", in_responses_words(error))
        return self._event("response.failed", {"response": body})

    def _event(self, name: str, said: Mapping[str, Any]) -> bytes:
        self._number += 1
        return named(name, {"sequence_number": self._number, **said})


def _kind(item: Mapping[str, Any]) -> str:
    """How its id begins."""
    kind = str(item["type"])
    return KINDS.get(kind) or ("fco" if kind.endswith("_output") else "item")


def _code(error: ApiError) -> str:
    """The few codes that a failed response may have."""
    if error.status == 429:
        return "rate_limit_exceeded"
    return "server_error" if error.status >= 500 else "invalid_prompt"


def _usage(call: Call) -> dict[str, Any]:
    used = call.usage
    return {
        "input_tokens": used.prompt,
        "input_tokens_details": {"cached_tokens": used.cached, "cache_write_tokens": 0},
        "output_tokens": used.completion,
        "output_tokens_details": {"reasoning_tokens": used.reasoning},
        "total_tokens": used.prompt + used.completion,
    }
