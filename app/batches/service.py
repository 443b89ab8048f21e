"""Files and batches as routes need them: their rows, and the bytes.  runtime -> [service] -> http routes."""

from __future__ import annotations

from dataclasses import dataclass

from app.batches.blobs import Blobs
from app.batches.files import Files
from app.batches.store import Batches


@dataclass(frozen=True, slots=True)
class BatchService:
    """runs: whether there is a worker; without one, batches are refused rather than left to lie."""

    files: Files
    blobs: Blobs
    batches: Batches
    runs: bool = True

    async def sweep(self) -> None:
        """Remove what has expired. Raises LedgerError, BlobError."""
        gone = await self.files.expired()
        for _, blob in gone:
            await self.blobs.delete(blob)
        await self.files.forget([id_ for id_, _ in gone])
