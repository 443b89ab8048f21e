"""Write what became of a batch's lines into its output and error files.  worker -> [output] -> blobs, sql.

A line's result is in the database before; this can be done again from the start by any worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from app.batches.blobs import Blobs
from app.batches.files import new_blob, new_id
from app.batches.model import File, Job, Result
from app.batches.queue import Work
from app.batches.scheduling import serial

WHY = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "cancelled": ("batch_cancelled", "This request was not executed because the batch was cancelled."),
}
"""What is said of lines that were never run, by how the batch ended."""


@dataclass(frozen=True, slots=True)
class Output:
    """clock: Unix seconds."""

    work: Work
    blobs: Blobs
    clock: Callable[[], float] = time.time

    async def write(self, job: Job) -> bool:
        """Both files, then the batch's end. False: another worker ended it, and these files are gone again."""
        output = await self._file(job, "output", ("answered",))
        errors = await self._file(job, "error", ("failed", "waiting"))
        if await self.work.end(job, output, errors):
            return True
        for file in filter(None, (output, errors)):
            await self.blobs.delete(file.blob)
        return False

    async def _file(self, job: Job, kind: str, states: Sequence[str]) -> File | None:
        """None: there is no such line."""
        page = await self.work.results(job, states, 0)
        if not page:
            return None
        id_, now = new_id(), self.clock()
        blob = new_blob(id_)
        async with self.blobs.write(blob) as sink:
            while page:
                for result in page:
                    await sink.put(line(job, result) + b"\n")
                page = await self.work.results(job, states, page[-1].number)
        lives = job.output_lives
        name = f"{job.id}_{kind}.jsonl"
        return File(id_, name, "batch_output", sink.size, blob, now, None if lives is None else now + lives)


def line(job: Job, result: Result) -> bytes:
    """One line of an output or error file, as OpenAI writes it."""
    out: dict[str, Any] = {
        "id": f"batch_req_{serial(job.id, result.number, 0)}",
        "custom_id": result.custom_id,
        "response": None,
        "error": None,
    }
    body = None if result.body is None else orjson.Fragment(result.body)
    if result.status_code is not None:
        out["response"] = {"status_code": result.status_code, "request_id": result.request_id, "body": body}
    elif body is not None:
        out["error"] = body
    else:
        code, message = WHY[str(job.ending)]
        out["error"] = {"code": code, "message": message}
    return orjson.dumps(out)
