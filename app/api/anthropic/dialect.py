"""Which requests speak Anthropic's API, and every error in the shape that the caller reads.

app, headers -> [dialect] -> anthropic.errors or api.errors. A path under `/v1/messages` speaks it; elsewhere the
headers of Anthropic's clients do.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from app.api.anthropic.errors import Fault
from app.api.errors import JsonError
from app.core.errors import ApiError

OWN = ("/v1/messages", "/v1/complete")
"""Paths of Anthropic's API alone, with all that lies below."""
OTHERS = (
    "/v1/chat", "/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/moderations", "/v1/files", "/v1/batches",
    "/v1/penstock", "/tokenize", "/detokenize", "/admin", "/console",
)  # fmt: skip
"""Paths whose answers have another shape: a key in `x-api-key` alone does not make them Anthropic's."""


def speaks(scope: Scope) -> bool:
    """Whether the caller reads Anthropic's shapes."""
    path = scope["path"]
    if _below(path, OWN):
        return True
    headers = Headers(scope=scope)
    if "anthropic-version" in headers:
        return True
    return "x-api-key" in headers and "authorization" not in headers and not _below(path, OTHERS)


def error_for(scope: Scope, error: ApiError, headers: Mapping[str, str] | None = None) -> Response:
    """The error as a response in the caller's shape. headers: further ones."""
    if speaks(scope):
        return Fault(error, dict(headers or {}))
    return JsonError(error, dict(headers or {}))


def _below(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in roots)
