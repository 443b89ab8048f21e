"""Policy: uploaded files. How much of the file storage a tenant may fill, and for how long."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from app.config.base import Strict


class Files(Strict):
    """Files lie in the state folder or the bucket until they are deleted or expire."""

    max_bytes: Annotated[int, Field(ge=1024, description="of all files of one tenant, batches' outputs included")] = (
        10_000_000_000
    )
    expires_days: Annotated[
        int | None, Field(ge=1, le=3650, description="of a file whose upload, or batch, names no other; null: never")
    ] = 30

    @property
    def lives(self) -> int | None:
        """Seconds that such a file lives."""
        return None if self.expires_days is None else self.expires_days * 86_400
