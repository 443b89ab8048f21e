"""Run a batch's line through the route that an online request takes.  worker -> [runner] -> API routes -> gateway.

The line is a request to the same ASGI app, made in this process in its key's name, so it is read, checked, refused,
moderated, billed and shaped exactly as if it had come over the network.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Scope

from app.batches.model import LineAnswer, Order, State
from app.batches.scheduling import ENDPOINTS, free_slots
from app.config import EMBEDDING
from app.core import errors
from app.core.call import BATCH_LINE, BatchLine
from app.core.ports import Principal
from app.pipeline.gateway import Gateway

Whose = Callable[[str], Awaitable[Principal | None]]
"""From a key's id to its owner; None: it may no longer be used."""


class LineRunner:
    """One for each gateway process. app: its HTTP surface."""

    def __init__(self, gateway: Gateway, app: ASGIApp, whose: Whose) -> None:
        self._gateway = gateway
        self._app = app
        self._whose = whose
        self._running: dict[str, asyncio.Task[LineAnswer]] = {}

    @property
    def online(self) -> int:
        """Calls on their way that are no batch's."""
        return max(0, self._gateway.in_flight - len(self._running))

    async def state(self) -> State:
        """What there is room for now."""
        settings, catalog = self._gateway.policy.batches, self._gateway.catalog
        space = free_slots(settings.concurrency, self.online, settings.yield_at)
        models = {endpoint: tuple(catalog.names) for endpoint in ENDPOINTS}
        models["/v1/embeddings"] = (EMBEDDING, self._gateway.policy.embeddings.model_id)
        for alias, target in catalog.aliases.items():
            models = {path: (*names, alias) if target in names else names for path, names in models.items()}
        return State(space, models, settings.max_lines)

    async def answer(self, order: Order) -> LineAnswer | None:
        """The route's answer; None while this gateway has too many online calls, and nothing was done.

        Not stopped by its caller's death: the line is billed whole, and who asks for it again meanwhile waits for it.
        """
        task = self._running.get(order.serial)
        if task is None:
            if self.online > self._gateway.policy.batches.yield_at:
                return None
            task = asyncio.ensure_future(self._run(order))
            self._running[order.serial] = task
            task.add_done_callback(lambda _: self._running.pop(order.serial, None))
        return await asyncio.shield(task)

    async def _run(self, order: Order) -> LineAnswer:
        who = await self._whose(order.key_id)
        if who is None:
            gone = errors.key_gone()
            return LineAnswer(gone.status, _request_id(order), orjson.dumps(gone.body()))
        return await _ask(self._app, order, BatchLine(order.serial, who))


def _request_id(order: Order) -> str:
    return f"req_{order.serial}"


async def _ask(app: ASGIApp, order: Order, line: BatchLine) -> LineAnswer:
    """POST the order to the app, as this line."""
    head: dict[str, Any] = {}
    parts: list[bytes] = []
    asked = False

    async def receive() -> Message:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()  # this client never hangs up
        asked = True
        return {"type": "http.request", "body": order.body, "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            head.update(message)
        else:
            parts.append(message.get("body", b""))

    await app(_scope(order, line), receive, send)
    headers = {name.decode().lower(): value.decode("latin-1") for name, value in head["headers"]}
    retry = headers.get("retry-after")
    useless = headers.get("x-should-retry") == "false"
    return LineAnswer(head["status"], _request_id(order), b"".join(parts), float(retry) if retry else None, useless)


def _scope(order: Order, line: BatchLine) -> Scope:
    headers = {
        "content-type": "application/json",
        "content-length": str(len(order.body)),
        "x-request-id": _request_id(order),
    }
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": "POST",
        "path": order.endpoint,
        "raw_path": order.endpoint.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": None,
        "server": None,
        "state": {BATCH_LINE: line},  # for api.auth.batch_line
    }
