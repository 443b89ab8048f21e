"""The results of a batch, a line for each request, as Anthropic writes them.  batches -> [batch_results] -> blobs.

The worker writes OpenAI's lines into an output and an error file; here each is told anew while it streams by.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson

from app.api.anthropic.batch_shape import LEFT
from app.api.anthropic.errors import KINDS
from app.batches.check import Splitter
from app.batches.model import Batch, Owner
from app.batches.service import BatchService

NEVER_RUN = {"batch_expired": "expired", "batch_cancelled": "canceled"}
"""Results of requests that were not run, by the error of their line."""


async def results(archive: BatchService, whose: Owner, batch: Batch) -> AsyncIterator[bytes]:
    """Each request's line, with its end. Raises BlobError."""
    for file in filter(None, (batch.output_file, batch.error_file)):
        async for line in _lines(archive, whose, file):
            yield _written(line["custom_id"], _result(line))
    if not (batch.output_file or batch.error_file):  # it ended before a line of it was read
        async for line in _lines(archive, whose, batch.input_file):
            yield _written(line["custom_id"], _left(batch.status))


async def _lines(archive: BatchService, whose: Owner, file_id: str) -> AsyncIterator[dict[str, Any]]:
    """The file's lines; none where it has expired."""
    file = await archive.files.get(whose, file_id)
    if file is None:
        return
    splitter = Splitter()
    async for data in archive.blobs.stream(file.blob):
        for _, line in splitter.feed(data):
            if line.strip():
                yield orjson.loads(line)
    if (rest := splitter.last()[1]).strip():
        yield orjson.loads(rest)


def _written(custom_id: str, result: dict[str, Any]) -> bytes:
    return orjson.dumps({"custom_id": custom_id, "result": result}) + b"\n"


def _result(line: dict[str, Any]) -> dict[str, Any]:
    response, error = line.get("response"), line.get("error") or {}
    if response is None:
        kind = NEVER_RUN.get(error.get("code", ""))
        return {"type": kind} if kind else _errored(500, error)
    status, said = response["status_code"], response["body"]
    if 200 <= status < 300:
        return {"type": "succeeded", "message": said}
    if isinstance(said, dict) and said.get("type") == "error":
        return {"type": "errored", "error": said}
    return _errored(status, said.get("error", {}) if isinstance(said, dict) else {})


def _left(status: str) -> dict[str, Any]:
    kind = LEFT.get(status, "errored")
    return {"type": kind} if kind != "errored" else _errored(500, {})


def _errored(status: int, error: dict[str, Any]) -> dict[str, Any]:
    """An error that came from beyond the route."""
    kind = KINDS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    message = str(error.get("message") or "The request could not be run.")
    return {
        "type": "errored",
        "error": {"type": "error", "error": {"type": kind, "message": message}, "request_id": None},
    }
