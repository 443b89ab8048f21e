"""A fake engine over HTTP that batches as a real one does: a prompt read a step, a token a step for every answer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any


@dataclass
class Engine:
    """step_s: of a step; read_s: of a prompt's token; before_s: what each call spends before the engine, one at a time.

    url: where it listens. asked: the bodies it got.
    """

    step_s: float = 0.001
    read_s: float = 0.0
    before_s: float = 0.0
    status: int = 200
    usage: bool = True
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    waiting: SimpleQueue[tuple[int, int, SimpleQueue[None]]] = field(default_factory=SimpleQueue)
    before: Lock = field(default_factory=Lock)
    closed: bool = False

    def run(self) -> None:
        """Step until closed."""
        running: list[tuple[int, SimpleQueue[None]]] = []
        while not self.closed:
            new = self._take(wait=not running)
            if new is None and not running:
                continue
            if new is not None:
                time.sleep(new[0] * self.read_s)
                running.append((new[1], new[2]))
            time.sleep(self.step_s)
            for _, tokens in running:
                tokens.put(None)
            running = [(left - 1, tokens) for left, tokens in running if left > 1]

    def _take(self, *, wait: bool) -> tuple[int, int, SimpleQueue[None]] | None:
        try:
            return self.waiting.get(block=wait, timeout=0.05 if wait else None)
        except Empty:
            return None


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


@contextmanager
def engine(**settings: Any) -> Iterator[Engine]:
    told = Engine(**settings)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            told.asked.append(body)
            with told.before:
                time.sleep(told.before_s)
            self.send_response(told.status)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            if told.status == 200:
                self._stream(body)

        def _stream(self, body: dict[str, Any]) -> None:
            prompt, count = len(body["messages"][0]["content"].split()), body["max_tokens"]
            tokens: SimpleQueue[None] = SimpleQueue()
            told.waiting.put((prompt, count, tokens))
            for _ in range(count):
                tokens.get()
                self._send({"choices": [{"index": 0, "delta": {"content": "word "}}]})
            usage = {"prompt_tokens": prompt, "completion_tokens": count}
            self._send({"choices": [], "usage": usage if told.usage else None})
            self.wfile.write(b"data: [DONE]\n\n")

        def _send(self, chunk: dict[str, Any]) -> None:
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = Server(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}"
    for run in (server.serve_forever, told.run):
        Thread(target=run, daemon=True).start()
    try:
        yield told
    finally:
        told.closed = True
        server.shutdown()
        server.server_close()
