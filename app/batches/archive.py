"""Files and batches as routes need them: their rows, and the bytes.  house -> [archive] -> http routes."""

from __future__ import annotations

from dataclasses import dataclass

from app.adapters.blobs import Blobs
from app.adapters.sql.batches import Batches
from app.adapters.sql.files import Files


@dataclass(frozen=True, slots=True)
class Archive:
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
