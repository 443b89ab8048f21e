"""A fake engine over HTTP: streams words as OpenAI's API does, at once or in one piece, or refuses."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass
class Engine:
    """step_s, read_s: of a token; url: where it listens; asked: the bodies it got."""

    step_s: float = 0.001
    read_s: float = 0.0
    status: int = 200
    usage: bool = True
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def engine(**settings: Any) -> Iterator[Engine]:
    told = Engine(**settings)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            told.asked.append(body)
            self.send_response(told.status)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            if told.status == 200:
                self._stream(body)

        def _stream(self, body: dict[str, Any]) -> None:
            prompt = len(body["messages"][0]["content"].split())
            time.sleep(prompt * told.read_s)
            for _ in range(body["max_tokens"]):
                time.sleep(told.step_s)
                self._send({"choices": [{"index": 0, "delta": {"content": "word "}}]})
            count = {"prompt_tokens": prompt, "completion_tokens": body["max_tokens"]}
            self._send({"choices": [], "usage": count if told.usage else None})
            self.wfile.write(b"data: [DONE]\n\n")

        def _send(self, chunk: dict[str, Any]) -> None:
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
