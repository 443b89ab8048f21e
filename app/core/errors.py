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
    `retry_after` in seconds; `headers` go out with it. `counts`: numbers that another API words in its own way.
    """

    status: int
    message: str
    type: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    retry_after: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

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


def too_many_dimensions(limit: int) -> ApiError:
    return bad_request(
        f"Invalid value for 'dimensions': this model's vectors have {limit} dimensions; ask for at most as many.",
        param="dimensions",
        code="invalid_value",
    )


def no_tokenizer(param: str) -> ApiError:
    return unsupported(param, "This gateway has no tokenizer, so it takes and gives no token ids. Send text.")


def foreign_token_ids(param: str) -> ApiError:
    return unsupported(
        param,
        "Token ids are not taken: they are another tokenizer's, of which this model would read nonsense. Send text; in "
        "LangChain's OpenAIEmbeddings, set `check_embedding_ctx_length=False`.",
    )


def no_chat_template() -> ApiError:
    return unsupported("messages", "The tokenizer's model has no chat template. Send `prompt` instead of `messages`.")


def body_too_large(limit: int) -> ApiError:
    return ApiError(413, f"The request body is larger than the limit of {limit:,} bytes.", code="request_too_large")


def unknown_encoding(said: str, known: Iterable[str]) -> ApiError:
    why = f"The content encoding '{said}' is not supported. Send the body as it is, or as one of: {', '.join(known)}."
    return ApiError(415, why, code="unsupported_encoding", headers={"accept-encoding": ", ".join(known)})


def broken_encoding(name: str) -> ApiError:
    return bad_request(f"The request body is no whole {name} stream.", code="invalid_encoding")


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


def origin_not_allowed() -> ApiError:
    why = "Pages of this origin may not call this API. Ask your admin to add it to `api.origins`."
    return ApiError(403, why, type="permission_error", code="origin_not_allowed")


def no_such_task(path: str) -> ApiError:
    why = f"{path}: this installation ranks no documents. Compare vectors of /v1/embeddings instead."
    return ApiError(404, why, code="unsupported_endpoint")


def model_not_found(model: str, choices: Iterable[str]) -> ApiError:
    known = ", ".join(sorted(choices))
    return ApiError(
        404,
        f"The model `{model[:100]}` does not exist. Choose from: {known}.",
        code="model_not_found",
        param="model",
    )


def call_not_found(call: str) -> ApiError:
    return ApiError(404, f"There is no call `{call[:100]}` of this tenant.", code="call_not_found")


def context_length(limit: int, asked: int | None = None, detail: str | None = None) -> ApiError:
    """`detail`: the engine's own count, when it was the engine that refused."""
    counted = f" Your request has at least {asked} prompt tokens." if asked is not None else ""
    said = f" {detail}" if detail else ""
    return ApiError(
        400,
        f"This model's maximum context length is {limit} tokens.{counted}{said} Shorten the messages or `max_tokens`.",
        code="context_length_exceeded",
        param="messages",
        counts={"limit": limit} | ({} if asked is None else {"asked": asked}),
    )


def cannot_continue() -> ApiError:
    return bad_request(
        "The last message is an assistant's, and no pool of this model can go on with it. End with a user's message.",
        param="messages",
        code="unsupported_value",
    )


def injection(label: str) -> ApiError:
    return ApiError(
        400,
        f"The prompt was refused by the injection guard ({label}).",
        code="content_policy_violation",
        param="messages",
        headers={"x-should-retry": "false"},
    )


def personal_data(kinds: Iterable[str]) -> ApiError:
    """kinds: types of personal data, never the data."""
    return ApiError(
        400,
        f"The prompt holds personal data ({', '.join(sorted(kinds))}), which this tenant lets through to no model. "
        "Take it out, or ask your admin to change `safety.personal`.",
        code="personal_data",
        param="messages",
        headers={"x-should-retry": "false"},
    )


def prompt_leak() -> ApiError:
    return ApiError(400, "The answer was stopped: it repeats the application's instructions.", code="content_filter")


def too_deep(levels: int) -> ApiError:
    why = f"`tools` and `response_format` may be nested {levels} levels deep. Make the schema flatter."
    return bad_request(why, "tools")


def flagged_prompt(label: str) -> ApiError:
    return bad_request(
        f"The prompt was flagged by the moderator ({label}), and the request asked to block it.",
        param="messages",
        code="content_policy_violation",
    )


def content_filter() -> ApiError:
    return ApiError(400, "The answer was stopped by the output moderator.", code="content_filter")


def engine_words(status: int) -> ApiError:
    """An engine's error whose words may not be shown."""
    message = "The model's engine refused this request. Its reason was withheld by the content filter."
    return ApiError(status, message, code="engine_refused")


def rate_limited(what: str, retry_after: int) -> ApiError:
    return ApiError(
        429,
        f"Rate limit reached for {what}. Please try again in {retry_after}s.",
        type="rate_limit_error",
        code="rate_limit_exceeded",
        retry_after=max(1, retry_after),
    )


def too_large_for_limit(what: str, limit: int, asked: int) -> ApiError:
    """More than the limit ever holds at once: waiting is useless."""
    return ApiError(
        429,
        f"Request too large for {what}: limit {limit}, requested {asked}. Shorten the messages or `max_tokens`.",
        type="rate_limit_error",
        code="rate_limit_exceeded",
        headers={"x-should-retry": "false"},
    )


def quota_exceeded(whose: str = "tenant") -> ApiError:
    return ApiError(
        429,
        f"You exceeded your current quota: this call's worst case would pass the budget of its {whose}. "
        "Ask your admin to raise it, or lower `max_tokens`.",
        type="insufficient_quota",
        code="insufficient_quota",
        headers={"x-should-retry": "false"},
    )


def tenant_paused(why: str) -> ApiError:
    return ApiError(
        429,
        f"Calls of this tenant are paused ({why}). Ask your admin to resume them.",
        type="insufficient_quota",
        code="tenant_paused",
        headers={"x-should-retry": "false"},
    )


def key_suspended(why: str) -> ApiError:
    return ApiError(
        403,
        f"This API key is suspended ({why}). Ask your admin to reinstate it.",
        type="permission_error",
        code="key_suspended",
        headers={"x-should-retry": "false"},
    )


def missing_scope(scope: str) -> ApiError:
    return ApiError(
        403,
        f"This API key has no scope `{scope}`. Use another key, or ask your admin for the scope.",
        type="permission_error",
        code="insufficient_permissions",
    )


def model_not_allowed(model: str, allowed: Iterable[str]) -> ApiError:
    known = ", ".join(sorted(allowed)) or "none"
    return ApiError(
        403,
        f"This API key may not use the model `{model[:100]}`. It may use: {known}.",
        type="permission_error",
        code="model_not_found",
        param="model",
    )


def region_not_allowed(regions: Iterable[str]) -> ApiError:
    return ApiError(
        403,
        f"No pool of this model stands in a region where this tenant's data may go ({', '.join(sorted(regions))}).",
        type="permission_error",
        code="region_not_allowed",
        param="model",
    )


def too_many_tokens(limit: int, param: str = "max_completion_tokens") -> ApiError:
    return bad_request(
        f"This API key may ask for at most {limit} output tokens. Lower `{param}`.",
        param=param,
        code="invalid_value",
    )


def response_not_found(response: str) -> ApiError:
    return ApiError(404, f"Response with id '{response[:100]}' not found.", code="response_not_found")


def previous_response_not_found(response: str) -> ApiError:
    return bad_request(
        f"Previous response with id '{response[:100]}' not found.",
        param="previous_response_id",
        code="previous_response_not_found",
    )


def no_tool_call(call: str, param: str = "input") -> ApiError:
    return bad_request(
        f"No tool call found for the tool output of call `{call[:100]}`. Send the call before its output.", param=param
    )


def idempotency_busy() -> ApiError:
    return ApiError(
        409,
        "A request with this Idempotency-Key is still being answered. Please try again.",
        code="idempotency_in_progress",
        retry_after=1,
    )


def idempotency_differs() -> ApiError:
    return bad_request(
        "This Idempotency-Key was used with another request. Use a new key for a new request.",
        code="idempotency_key_reuse",
    )


def bad_idempotency_key() -> ApiError:
    return bad_request("An Idempotency-Key has 1 to 255 printable ASCII characters.", code="invalid_idempotency_key")


def overloaded(retry_after: int = 1) -> ApiError:
    return ApiError(
        503,
        "The server is overloaded or not ready yet. Please try again.",
        type="server_error",
        code="overloaded",
        retry_after=retry_after,
    )


def engine_lost(what: str = "") -> ApiError:
    """what: of the request, why the answer could not be continued by another engine."""
    why = f", and an answer with `{what}` cannot be continued by another one" if what else ""
    return ApiError(
        503,
        f"The engine was lost while it answered{why}. Please try again.",
        type="server_error",
        code="engine_lost",
        retry_after=1,
    )


def engines_lost() -> ApiError:
    """The request was in two engines when they were lost. Waiting is useless."""
    return ApiError(
        400,
        "This request was on its way in two engines when they were lost, and is given to no other one. "
        "Change it (its schema or its messages) before you send it again.",
        code="request_lost_engines",
        headers={"x-should-retry": "false"},
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


def stage_unavailable(stage: str) -> ApiError:
    """A stage's model does not answer. Fails closed: nothing passes unscrubbed, unguarded or unmoderated."""
    return ApiError(
        503,
        f"The {stage} stage does not answer right now, and no call passes without it. Please try again.",
        type="server_error",
        code="stage_unavailable",
        retry_after=2,
    )


def internal() -> ApiError:
    return ApiError(
        500,
        "The server had an error while processing your request. Quote the x-request-id when you report it.",
        type="server_error",
        code="internal_error",
    )


def file_not_found(id_: str, param: str = "file_id") -> ApiError:
    return ApiError(404, f"No such File object: {id_[:100]}", code="file_not_found", param=param)


def file_in_use(id_: str, batch: str) -> ApiError:
    return ApiError(
        409,
        f"File {id_} is the input of {batch}, which has not ended. Cancel the batch first.",
        code="file_in_use",
        headers={"x-should-retry": "false"},
    )


def file_too_large(limit: int) -> ApiError:
    return ApiError(413, f"The file is larger than the limit of {limit:,} bytes.", code="file_too_large", param="file")


def files_full(limit: int) -> ApiError:
    return ApiError(
        413,
        f"This tenant's files would be larger than its limit of {limit:,} bytes. Delete some first.",
        code="files_quota_exceeded",
        param="file",
    )


def batch_not_found(id_: str) -> ApiError:
    return ApiError(404, f"No batch found with id '{id_[:100]}'.", code="batch_not_found", param="batch_id")


def batch_over(id_: str, status: str) -> ApiError:
    return ApiError(
        409,
        f"Batch {id_} has the status '{status}' and can no longer be cancelled.",
        code="batch_not_cancellable",
        headers={"x-should-retry": "false"},
    )


def batch_not_over(id_: str) -> ApiError:
    return bad_request(f"Batch {id_} has not ended. Cancel it first, or wait for its end.", code="batch_not_ended")


def no_results(id_: str) -> ApiError:
    return ApiError(404, f"Batch {id_} has no results, or has them no longer.", code="no_results")


def no_batches() -> ApiError:
    return ApiError(
        404, "This installation runs no batches. Ask your admin to set `batch_worker` in the config.", code="no_batches"
    )


def key_gone() -> ApiError:
    return ApiError(401, "The API key that made this batch is disabled or has expired.", code="invalid_api_key")
