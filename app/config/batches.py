"""Policy: the batch API. How much of a gateway its lines may take, and how large a batch may be."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from app.config.base import Strict


class Batches(Strict):
    """Batch lines run where online calls leave room: a worker has at most `concurrency` on their way, fewer the more
    calls are online, and none while a gateway has more than `yield_at`.
    """

    concurrency: Annotated[int, Field(ge=1, description="lines on their way at once, of one worker")] = 16
    yield_at: Annotated[int, Field(ge=0, description="online calls of a gateway above which batches wait")] = 32
    max_lines: Annotated[int, Field(ge=1, le=50_000, description="lines of one batch")] = 50_000
    max_file_bytes: Annotated[int, Field(ge=1024, description="of one uploaded file")] = 200_000_000
