"""What the console's tests share: a gateway on fake models with the real house (ledger, audit, admin API), served."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from app.config import Config
from app.installation.paths import admin_key
from graphs.local import create
from tests.kit import free_port, graph, policy

FAKE = {"adapter": "fake", "placement": "inline"}


@dataclass
class Site:
    """A served gateway. admin: a client of /admin/v1 with its key."""

    url: str
    admin: httpx.Client

    def tenant(self, name: str, **terms: Any) -> str:
        """A new tenant; the secret of a key of its own."""
        self.admin.post("/tenants", json={"id": name, "terms": terms}).raise_for_status()
        return str(self.admin.post("/keys", json={"tenant": name}).raise_for_status().json()["key"])

    def get(self, path: str, key: str, **query: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", headers={"Authorization": f"Bearer {key}"}, params=query or None)

    def chat(self, key: str, text: str, **more: Any) -> httpx.Response:
        """A whole answer; its call's id is the header `x-penstock-call`."""
        body = {"model": "auto", "messages": [{"role": "user", "content": text}], **more}
        return httpx.post(
            f"{self.url}/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=30
        )


@contextlib.contextmanager
def standing(state: Path, monkeypatch: pytest.MonkeyPatch, **pools: Any) -> Iterator[Site]:
    """The site, with its state in `state`. pools: options of the fake engines, by pool."""
    monkeypatch.setenv("PENSTOCK_STATE", str(state))
    engines = {
        name: {"kind": "fake", "model_id": f"model-{name}", "options": pools.get(name, {})} for name in ("a", "b")
    }
    made = graph(pools=engines, scrubber={**FAKE, "options": {"names": ["Ada Lovelace"]}})
    port = free_port()
    app = create(Config(graph=made, policy=policy()))
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        threading.Event().wait(0.01)
    url = f"http://127.0.0.1:{port}"
    headers = {"Authorization": f"Bearer {admin_key()}"}
    try:
        with httpx.Client(base_url=f"{url}/admin/v1", headers=headers, timeout=30) as admin:
            yield Site(url, admin)
    finally:
        server.should_exit = True
        thread.join(10)
