"""What the tests of batches share: a gateway on fakes with files, batches and a worker, behind a real HTTP server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import uvicorn

from app.api.app import ApiDependencies, create_app
from app.batches.blobs import Blobs
from app.batches.files import Files
from app.batches.queue import Work
from app.batches.runner import LineRunner
from app.batches.service import BatchService
from app.batches.store import Batches
from app.batches.worker import Worker
from app.core.ports import Principal
from app.db.store import Store
from tests.contracts.ledger_kit import SECRETS
from tests.kit import KEY, Kit, free_port

CHAT = "/v1/chat/completions"


@dataclass
class Batchery:
    """A kit, its files and its worker. clock: of files, batches and worker."""

    folder: Path
    kit: Kit = field(default_factory=Kit)
    policy: dict[str, Any] = field(default_factory=dict)
    works: bool = True
    clock: Callable[[], float] = time.time
    url: str = ""
    worker: Worker | None = None

    @contextlib.contextmanager
    def serving(self) -> Iterator[Batchery]:
        """Behind uvicorn in a thread of its own."""
        self.url = f"http://127.0.0.1:{free_port()}"
        port = int(self.url.rpartition(":")[2])
        store = Store(f"sqlite:///{self.folder}/ledger.db")
        blobs = Blobs(str(self.folder / "files"))
        archive = BatchService(Files(store, self.clock), blobs, Batches(store, self.clock))
        gateway = self.kit.gateway(**self.policy)

        @contextlib.asynccontextmanager
        async def lifespan(_: object) -> AsyncIterator[None]:
            work = Work(store, SECRETS, "worker_1", self.clock, lease=2.0)
            self.worker = Worker(work, blobs, LineRunner(gateway, app, self.whose), self.clock)
            running = [asyncio.ensure_future(self.worker.run())] if self.works else []
            yield
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await store.close()

        app = create_app(gateway, ApiDependencies(self.kit.metrics.export, archive=archive), lifespan=lifespan)
        server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_level="warning", lifespan="on"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            deadline = time.monotonic() + 10
            while not server.started:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield self
        finally:
            server.should_exit = True
            thread.join(10)

    async def whose(self, key_id: str) -> Principal | None:
        return next((who for who in self.kit.authenticator.keys.values() if who.key_id == key_id), None)

    def client(self, key: str = KEY) -> openai.OpenAI:
        return openai.OpenAI(api_key=key, base_url=f"{self.url}/v1", max_retries=0, timeout=30)


def task(custom_id: str, text: str = "Hello", **changes: Any) -> dict[str, Any]:
    """A line of an input file."""
    body = {"model": "small", "messages": [{"role": "user", "content": text}]}
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body, **changes}


def lines(*tasks: Any) -> bytes:
    """An input file."""
    return b"".join(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in tasks)


def begin(client: openai.OpenAI, data: bytes, endpoint: Any = CHAT, **more: Any) -> Any:
    """Upload and begin a batch."""
    file = client.files.create(file=("input.jsonl", data), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", **more)


def ended(client: openai.OpenAI, id_: str, seconds: float = 20.0) -> Any:
    """The batch once it has ended."""
    deadline = time.monotonic() + seconds
    while (found := client.batches.retrieve(id_)).status not in ("completed", "failed", "expired", "cancelled"):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def written(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    """The lines of an output or error file."""
    if file_id is None:
        return []
    return [json.loads(line) for line in client.files.content(file_id).content.splitlines()]
