"""One choice of a chat stream as Tokens: thoughts, text, tool calls, and why it ended.  openai_stream -> [here]."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.core.events import Token
from app.engines.loose_json import a_text, an_object, objects
from app.engines.surrogates import Halves, whole
from app.engines.token_logprobs import logprobs_of
from app.engines.tool_pieces import ToolPieces

REASONING = ("reasoning_content", "reasoning", "reasoning_text", "thinking", "thinking_content", "thought", "thoughts")
"""Under which names servers send what a model thinks; the same text may stand under several."""
_LENGTH = {"length", "max_tokens", "max_output_tokens", "max_completion_tokens", "max_length", "model_length"}
_LENGTH |= {"token_limit", "model_context_window_exceeded"}
_TOOLS = {"tool_calls", "tool_call", "tool_use", "function_call", "function_calls"}
_FILTER = {"content_filter", "content_filtered", "safety", "refusal", "recitation", "blocklist", "prohibited_content"}
_FILTER |= {"sensitive", "spii", "guardrail_intervened"}


class ChoiceStream:
    """The state of one choice. What comes after its end is left out."""

    def __init__(self) -> None:
        self.ended = False
        self._tools = ToolPieces()
        self._halves = Halves()
        self._spoken = False

    @property
    def begun(self) -> bool:
        """Whether it has said anything, or ended."""
        return self._spoken or self.ended or self._held

    def read(self, choice: Mapping[str, Any], index: int) -> Iterator[Token]:
        """A choice of a chunk, or of a whole answer, as Tokens. None for a delta of the role alone."""
        if self.ended:
            return
        delta = an_object(choice.get("delta"))
        if not delta and not self._spoken:  # of a whole answer; some repeat it at the end of a stream
            delta = an_object(choice.get("message"))
        finish = finish_reason(choice.get("finish_reason"))
        thought = self._halves.feed("reasoning", _thought(delta))
        text = self._halves.feed(None, _said(delta) or a_text(choice.get("text")))
        content = logprobs_of(choice.get("logprobs"))
        tools = list(self._tools.read(delta))
        stop = choice.get("stop_reason")  # vLLM's extension: the stop sequence, or the id of a token that ends answers
        if thought:
            yield Token(thought, index, kind="reasoning")
        ends_here = self._finish(finish) if finish and not tools and not self._held else None
        if text or content or ends_here:
            told = whole(stop) if isinstance(stop, str) else None
            yield Token(text, index, content, ends_here, stop=told)
        for tool in tools:
            yield Token("", index, tool=tool)
        self._spoken = self._spoken or bool(thought or text or tools)
        self.ended = bool(ends_here)
        if finish and not ends_here:
            yield from self.end(finish, index, stop=whole(stop) if isinstance(stop, str) else None)

    def end(self, reason: str, index: int, stop: str | None = None) -> Iterator[Token]:
        """What was held back, and the end; nothing where it has ended."""
        if self.ended:
            return
        self.ended = True
        if thought := self._halves.end("reasoning"):
            yield Token(thought, index, kind="reasoning")
        for tool in self._tools.end(cut=reason == "length"):
            yield Token("", index, tool=tool)
        yield Token(self._halves.end(None), index, finish_reason=self._finish(reason), stop=stop)

    @property
    def _held(self) -> bool:
        """Whether there may be something to say before the end."""
        return bool(self._halves.waiting or self._tools.calls)

    def _finish(self, reason: str) -> str:
        """Clients switch on it: tool calls end with `tool_calls`, and nothing else does."""
        called = any(call.told for call in self._tools.calls)
        if reason in ("stop", "tool_calls"):
            return "tool_calls" if called else "stop"
        return reason


def finish_reason(said: Any) -> str | None:
    """OpenAI's word for why a choice ended, whatever the server calls it. None: it has not ended."""
    if not said or said is True or str(said).lower() in ("null", "none"):
        return None
    word = str(said).strip().lower().replace("-", "_").replace(" ", "_")
    for right, words in (("length", _LENGTH), ("tool_calls", _TOOLS), ("content_filter", _FILTER)):
        if word in words:
            return right
    return "stop"


def _thought(delta: Mapping[str, Any]) -> str:
    """What the model thought, under the first name that has something."""
    for name in REASONING:
        if found := _text_in(delta.get(name)):
            return found
    if found := _text_in(delta.get("reasoning_details")):
        return found
    parts = objects(delta.get("content"))
    return "".join(_text_in(part.get("thinking") or part.get("text")) for part in parts if _is_thought(part))


def _said(delta: Mapping[str, Any]) -> str:
    """Its text: a string, or the texts of parts; a model's refusal is one."""
    content = delta.get("content")
    if isinstance(content, str) and content:
        return content
    parts = "".join(a_text(part.get("text")) for part in objects(content) if not _is_thought(part))
    return parts or a_text(delta.get("refusal"))


def _is_thought(part: Mapping[str, Any]) -> bool:
    kind = a_text(part.get("type"))
    return "thinking" in kind or "reasoning" in kind


def _text_in(value: Any) -> str:
    """A text, or the texts within an object or a list of them."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        value = [value]
    names = ("text", "content", "thinking", "summary")
    return "".join(next((found for name in names if (found := a_text(one.get(name)))), "") for one in objects(value))
