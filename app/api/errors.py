"""An ApiError as an HTTP response."""

from __future__ import annotations

import orjson
from starlette.responses import Response

from app.core.errors import ApiError


class JsonError(Response):
    """OpenAI's error object, with `Retry-After` in whole seconds where trying again is of use."""

    media_type = "application/json"

    def __init__(self, error: ApiError, headers: dict[str, str] | None = None) -> None:
        super().__init__(orjson.dumps(error.body()), error.status, error_headers(error) | (headers or {}))


def error_headers(error: ApiError) -> dict[str, str]:
    """The headers that go out with an error."""
    retry = {} if error.retry_after is None else {"retry-after": str(max(1, error.retry_after))}
    return retry | error.headers
