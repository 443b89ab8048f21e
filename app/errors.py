"""Every error a client can see: one sentence, its status, and OpenAI's `type` and `code`.

Raise what a function here returns, or put it in a Refusal or Failure. Nothing else reaches a client.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class ApiError(Exception):
    """An error in OpenAI's shape. Not frozen: Python itself writes tracebacks onto exceptions.
    `retry_after` in seconds; `headers` go out with it.
    """

    status: int
    message: str
    type: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    retry_after: int | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message

    def body(self) -> dict[str, Any]:
        """`{"error": {...}}`, all four keys always present."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


def bad_request(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    return ApiError(400, message, code=code, param=param)


def malformed(why: str) -> ApiError:
    return bad_request(f"We could not parse the JSON body of your request: {why}.", code="invalid_json")


def unsupported(param: str, why: str) -> ApiError:
    return bad_request(why, param=param, code="unsupported_parameter")


def body_too_large(limit: int) -> ApiError:
    return ApiError(413, f"The request body is larger than the limit of {limit:,} bytes.", code="request_too_large")


def missing_key() -> ApiError:
    return ApiError(
        401,
        "You didn't provide an API key. Provide it in an Authorization header using Bearer auth "
        "(Authorization: Bearer YOUR_KEY).",
        code="invalid_api_key",
    )


def wrong_key() -> ApiError:
    return ApiError(401, "Incorrect API key provided.", code="invalid_api_key")


def route_not_found(method: str, path: str) -> ApiError:
    return ApiError(404, f"Invalid URL ({method} {path}).", code="unknown_url")


def method_not_allowed(method: str, path: str) -> ApiError:
    return ApiError(405, f"Not allowed to {method} on {path}.", code="method_not_allowed")


def model_not_found(model: str, choices: Iterable[str]) -> ApiError:
    known = ", ".join(sorted(choices))
    return ApiError(
        404,
        f"The model `{model[:100]}` does not exist. Choose from: {known}.",
        code="model_not_found",
        param="model",
    )


def context_length(limit: int, asked: int | None = None, detail: str | None = None) -> ApiError:
    """`detail`: the engine's own count, when it was the engine that refused."""
    counted = f" Your request has at least {asked} prompt tokens." if asked is not None else ""
    said = f" {detail}" if detail else ""
    return ApiError(
        400,
        f"This model's maximum context length is {limit} tokens.{counted}{said} Shorten the messages or `max_tokens`.",
        code="context_length_exceeded",
        param="messages",
    )


def injection(label: str) -> ApiError:
    return ApiError(
        400,
        f"The prompt was refused by the injection guard ({label}).",
        code="content_policy_violation",
        param="messages",
        headers={"x-should-retry": "false"},
    )


def content_filter() -> ApiError:
    return ApiError(400, "The answer was stopped by the output moderator.", code="content_filter")


def rate_limited(what: str, retry_after: int) -> ApiError:
    return ApiError(
        429,
        f"Rate limit reached for {what}. Please try again in {retry_after}s.",
        type="rate_limit_error",
        code="rate_limit_exceeded",
        retry_after=max(1, retry_after),
    )


def quota_exceeded() -> ApiError:
    return ApiError(
        429,
        "You exceeded your current quota: this call's worst case would pass the budget. Ask your admin to raise it.",
        type="insufficient_quota",
        code="insufficient_quota",
        headers={"x-should-retry": "false"},
    )


def overloaded(retry_after: int = 1) -> ApiError:
    return ApiError(
        503,
        "The server is overloaded or not ready yet. Please try again.",
        type="server_error",
        code="overloaded",
        retry_after=retry_after,
    )


def no_pool(tier: str) -> ApiError:
    return ApiError(
        503,
        f"No pool of tier `{tier}` can answer right now. Please try again.",
        type="server_error",
        code="no_healthy_pool",
        retry_after=5,
    )


def timed_out(seconds: float) -> ApiError:
    return ApiError(504, f"The call passed its deadline of {seconds:g} s.", type="server_error", code="timeout")


def room_unavailable(room: str) -> ApiError:
    """A room's model does not answer. Fails closed: nothing passes unscrubbed, unguarded or unmoderated."""
    return ApiError(
        503,
        f"The {room} room does not answer right now, and no call passes without it. Please try again.",
        type="server_error",
        code="room_unavailable",
        retry_after=2,
    )


def internal() -> ApiError:
    return ApiError(
        500,
        "The server had an error while processing your request. Quote the x-request-id when you report it.",
        type="server_error",
        code="internal_error",
    )
