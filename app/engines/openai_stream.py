"""Read an OpenAI chat stream, vLLM's or an upstream's, as Tokens and Usage.  engine -> [openai_stream] -> generate.

A ChatStream is fed what arrives and keeps the counts: Usage comes before the Tokens that it counts, so that a client
who hangs up on a Token is billed for it, and once more at the end.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from app.core.events import Token, ToolDelta, Usage
from app.core.ports import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Usage with every chunk: what is to be billed is known at any moment. vLLM's extension; OpenAI ignores or refuses it.
STREAM_OPTIONS = {"include_usage": True, "continuous_usage_stats": True}

TOO_LONG = "context_length_exceeded"
# vLLM has no code for it, and words it in several ways; other servers copied OpenAI's sentence without its code.
_LENGTH = re.compile(r"maximum (context|model) length|context length (is|of)|longer than the maximum", re.IGNORECASE)
_DETAILS = re.compile(r" \(parameter=.*\)$", re.DOTALL)  # vLLM appends its own variables to a sentence
_RETRYABLE = {408, 409, 425, 429}
_BUSY_TYPES = {"rate_limit_error", "rate_limit_exceeded", "server_error", "overloaded_error", "timeout"}


class ChatStream:
    """The state of one answer. `usage`: the latest count. `done`: whether the stream said that it is over.

    Where chunks carry no usage, one token is counted for every piece of text, until the stream's own count arrives.
    """

    __slots__ = ("_choices", "done", "usage")

    def __init__(self) -> None:
        self.usage = Usage()
        self.done = False
        self._choices: dict[int, int] = {}  # completion tokens so far: a chunk's usage counts its own choice only

    def feed(self, data: str | bytes | Mapping[str, Any]) -> list[Token | Usage]:
        """Events of one `data: {...}` event, or several, or of a chunk that is parsed already.

        Raises EngineError: the stream carries an error, or is no chat stream.
        """
        if not isinstance(data, str | bytes):
            return self._chunk(data)
        events: list[Token | Usage] = []
        for text in _payloads(data):
            if text == "[DONE]":
                self.done = True
                break
            try:
                chunk = orjson.loads(text)
            except orjson.JSONDecodeError:
                chunk = None
            if not isinstance(chunk, dict):
                message = "the engine sent something that is no chat completion chunk"
                raise EngineError(message, retryable=True)
            events += self._chunk(chunk)
        return events

    def _chunk(self, chunk: Mapping[str, Any]) -> list[Token | Usage]:
        if chunk.get("error"):
            raise engine_error(chunk)
        choices = chunk.get("choices") or ()
        tokens = [token for choice in choices for token in _tokens(choice)]
        if (said := chunk.get("usage")) is not None:
            usage = self._counted(said, choices)
        elif pieces := sum(bool(token.said) for token in tokens):
            usage = Usage(self.usage.prompt, self.usage.completion + pieces, self.usage.cached)
        else:
            usage = self.usage
        if usage == self.usage:
            return list(tokens)
        self.usage = usage
        return [usage, *tokens]

    def _counted(self, said: Mapping[str, Any], choices: Sequence[Mapping[str, Any]]) -> Usage:
        """The counts after a chunk that carries some: of its own choice, or, without one, of the whole answer."""
        completion = said.get("completion_tokens") or 0
        if choices:
            self._choices[choices[0].get("index") or 0] = completion
            completion = sum(self._choices.values())
        details = said.get("prompt_tokens_details") or {}
        return Usage(said.get("prompt_tokens") or 0, completion, details.get("cached_tokens") or self.usage.cached)


def _payloads(data: str | bytes) -> Iterator[str]:
    """What stands behind `data:`; comments, event names and blank lines are left out."""
    text = data if isinstance(data, str) else data.decode()
    for line in text.splitlines() if "\n" in text.rstrip() else (text,):
        if line.startswith("data:"):
            yield line[5:].strip()


def _tokens(choice: Mapping[str, Any]) -> Iterator[Token]:
    """A choice of a chunk as Tokens: its text, its tool calls' pieces, its end. None for a delta of the role alone."""
    delta, index = choice.get("delta") or {}, choice.get("index") or 0
    text = delta.get("content") or choice.get("text") or ""
    finish = choice.get("finish_reason")
    content = _logprobs(choice.get("logprobs") or {})
    tools = [_tool(piece) for piece in delta.get("tool_calls") or ()]
    ends_here = finish if not tools else None
    stop = choice.get("stop_reason")  # vLLM's extension: the stop sequence, or the id of a token that ends answers
    if text or content or ends_here:
        yield Token(text, index, content, ends_here, stop=stop if isinstance(stop, str) else None)
    for tool in tools:
        yield Token("", index, tool=tool)
    if tools and finish:
        yield Token("", index, finish_reason=finish)


def _logprobs(said: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Logprobs as the chat API has them; the completions API's are turned into them."""
    if "tokens" not in said:
        return said.get("content")
    tops = said.get("top_logprobs") or [None] * len(said["tokens"])
    return [
        {**_entry(token, logprob), "top_logprobs": [_entry(*other) for other in (top or {}).items()]}
        for token, logprob, top in zip(said["tokens"], said["token_logprobs"], tops, strict=True)
    ]


def _entry(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}


def completion_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """A chat request's params as the completions API spells them: there `logprobs` is a number."""
    sent = {name: value for name, value in params.items() if name not in ("logprobs", "top_logprobs")}
    return {**sent, "logprobs": params.get("top_logprobs") or 0} if params.get("logprobs") else sent


def _tool(piece: Mapping[str, Any]) -> ToolDelta:
    function = piece.get("function") or {}
    arguments, name = function.get("arguments") or "", function.get("name")
    return ToolDelta(piece.get("index") or 0, arguments, piece.get("id"), name)


def engine_error(body: Any, status: int | None = None) -> EngineError:
    """An OpenAI error body, whole or only its `error`, as an EngineError. status: of the HTTP answer, if any."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        error = {"message": error if isinstance(error, str) else ""}
    code, kind = error.get("code"), error.get("type") or ""
    if isinstance(code, int):  # vLLM writes the HTTP status here
        status, code = status or code, None
    message = _DETAILS.sub("", str(error.get("message") or f"the engine answered with status {status}"))
    if code == TOO_LONG or (status in (None, 400, 413, 422) and _LENGTH.search(message)):
        return EngineError(message, retryable=False, code=TOO_LONG, param="messages")
    if _may_retry(status, kind):
        return EngineError(message, retryable=True, code=code)
    return EngineError(message, retryable=False, code=code, param=error.get("param"))


def _may_retry(status: int | None, kind: str) -> bool:
    """Whether another pool may do better. An upstream's 401, 403 and 404 are our fault, not the caller's: it may."""
    if status is None:
        return kind in _BUSY_TYPES or "Internal" in kind
    return status >= 500 or status in _RETRYABLE or status in (401, 403, 404)
