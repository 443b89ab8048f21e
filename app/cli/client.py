"""Ask the admin API: over the network, or in this process over a config's ledger. admin -> [client] -> HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

_API = "/admin/v1"
_PATIENCE = 600.0
"""Seconds: an audit chain of millions of records takes that long to verify."""


class AdminError(Exception):
    """The API's no, in its words. code: OpenAI's error code."""

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


class Client:
    """A context. Every method raises AdminError."""

    def __init__(self, config: Path, url: str | None) -> None:
        """url: of a running graph; None works on the ledger of `config`, in this process.

        Raises ConfigError, StateError, LedgerError.
        """
        from app.installation.paths import admin_key

        key = admin_key()
        self._url = url
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._http = httpx.AsyncClient(
            base_url=url or "http://this-process",
            transport=None if url else self._local(config, key),
            headers={"Authorization": f"Bearer {key}"},
            timeout=_PATIENCE,
        )
        self._stack.push_async_callback(self._http.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._runner:
            self._runner.run(self._stack.aclose())

    def get(self, path: str, **query: Any) -> Any:
        """The answer's JSON. A query value None is left out."""
        return self._ask("GET", path, query).json()

    def text(self, path: str, **query: Any) -> str:
        """The answer as it is."""
        return self._ask("GET", path, query).text

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """POST, PUT, PATCH or DELETE; the answer's JSON."""
        return self._ask(method, path, {}, body).json()

    def delete(self, path: str, **query: Any) -> Any:
        """DELETE what a query names; the answer's JSON. A query value None is left out."""
        return self._ask("DELETE", path, query).json()

    def each(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Every object of a list, page by page."""
        after = None
        while True:
            page = self.get(path, limit=1000, after=after, **query)
            yield from page["data"]
            if not page["has_more"]:
                return
            after = page["data"][-1]["id"]

    def _ask(self, method: str, path: str, query: dict[str, Any], body: Any = None) -> httpx.Response:
        params = {name: value for name, value in query.items() if value is not None}
        try:
            answer = self._runner.run(self._http.request(method, f"{_API}{path}", params=params, json=body))
        except httpx.HTTPError as error:
            raise AdminError(
                f"cannot reach {self._url}: {error or type(error).__name__}. Is the graph running?"
            ) from error
        if answer.is_success:
            return answer
        try:
            said = answer.json()["error"]
        except (ValueError, KeyError, TypeError):
            raise AdminError(f"{self._url} answered {answer.status_code}: is it Penstock's URL?") from None
        raise AdminError(said["message"], said["code"])

    def _local(self, config: Path, key: str) -> httpx.ASGITransport:
        from fastapi import FastAPI

        from app.api.admin import install
        from app.api.admin.services import ANYWHERE
        from app.config import load_file
        from app.db.store import Store
        from app.installation.paths import database_url
        from app.installation.secrets import Secrets
        from app.tenancy.admin import AdminService

        state = load_file(config).graph.state
        store = Store(database_url(state.database))
        self._stack.push_async_callback(store.close)
        app = FastAPI(openapi_url=None)
        install(app, AdminService(store, Secrets.load()), key, currency=state.currency, actor="cli", outside=ANYWHERE)
        return httpx.ASGITransport(app)
