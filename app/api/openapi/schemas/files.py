"""OpenAI's files and batches."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from app.api.openapi.schemas.base import Shape

Purpose = Literal["assistants", "batch", "evals", "fine-tune", "user_data", "vision"]


class FileForm(Shape):
    """The parts of an upload."""

    file: Annotated[str, Field(json_schema_extra={"format": "binary"})]
    purpose: Purpose
    anchor: Annotated[Literal["created_at"] | None, Field(alias="expires_after[anchor]")] = None
    seconds: Annotated[int | None, Field(alias="expires_after[seconds]", ge=3_600, le=2_592_000)] = None


class FileObject(Shape):
    """A file of the key's tenant and project."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: Literal["processed"]
    status_details: None


class FileDeleted(Shape):
    """It is gone."""

    id: str
    object: Literal["file"]
    deleted: Literal[True]


class FileList(Shape):
    """A page of files."""

    object: Literal["list"]
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FileQuery(Shape):
    """Which files. after: the last id of the page before."""

    after: str = ""
    limit: Annotated[int, Field(ge=1, le=10_000)] = 10_000
    order: Literal["asc", "desc"] = "desc"
    purpose: str = ""


class BatchProblem(Shape):
    """What is wrong with the input file. line: counted from 1."""

    code: str | None
    message: str
    param: str | None
    line: int | None


class BatchProblems(Shape):
    """All of them."""

    object: Literal["list"]
    data: list[BatchProblem]


class BatchCounts(Shape):
    """Lines."""

    total: int
    completed: int
    failed: int


class BatchObject(Shape):
    """A batch as it stands. Moments are Unix seconds."""

    id: str
    object: Literal["batch"]
    endpoint: str
    errors: BatchProblems | None
    input_file_id: str
    completion_window: str
    status: Literal[
        "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
    ]
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    expires_at: int | None
    in_progress_at: int | None
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: BatchCounts
    metadata: dict[str, str] | None


class BatchList(Shape):
    """A page of batches."""

    object: Literal["list"]
    data: list[BatchObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class BatchQuery(Shape):
    """Which batches. after: the last id of the page before."""

    after: str = ""
    limit: Annotated[int, Field(ge=1, le=100)] = 20
