"""`HEAD` wherever `GET` is, and in `Allow` every method that a path knows.  Stamp -> cors -> [methods] -> routes."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

_NOT_ALLOWED = 405


class Methods:
    """Asks a route for its `GET` where the client sent `HEAD`, and keeps the body."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        head = scope["method"] == "HEAD"

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == _NOT_ALLOWED:
                MutableHeaders(scope=message)["allow"] = ", ".join(self._allowed(scope["path"]))
            if message["type"] == "http.response.body" and head:
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"} if head else scope, receive, sent)

    def _allowed(self, path: str) -> Iterable[str]:
        """Methods of all routes of this path: each knows only its own."""
        routes = (one for one in self._app.routes if isinstance(one, Route) and one.path_regex.match(path))
        methods = {method for route in routes for method in route.methods or ()}
        return sorted(methods | {"HEAD"} if "GET" in methods else methods)
