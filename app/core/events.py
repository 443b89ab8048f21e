"""What flows through the stages. A call is a stream of these, in order: one Prompt in, Tokens out.

Every event is frozen: a stage that changes one yields a new one (`dataclasses.replace`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.core.errors import ApiError


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation. `text` is its whole text; `extra` its other OpenAI fields, as sent.

    breaks: where in the text a client's next content part begins; they go when the text changes.
    """

    role: str
    text: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    breaks: tuple[int, ...] = field(default=(), compare=False)

    @classmethod
    def of(cls, role: str, parts: Sequence[str], extra: Mapping[str, Any] | None = None) -> Message:
        """A turn that came in parts: each begins a line of its own, and an empty one is none."""
        said = [part for part in parts if part]
        breaks = tuple(accumulate(len(part) + 1 for part in said[:-1]))
        return cls(role, "\n".join(said), extra or {}, breaks)

    @property
    def texts(self) -> tuple[str, ...]:
        """Its text, and the arguments of each of its tool calls: all that was written by somebody."""
        return (self.text, *(call["function"]["arguments"] for call in self.extra.get("tool_calls") or ()))

    def saying(self, texts: Sequence[str]) -> Message:
        """The same message with other `texts`."""
        text, *arguments = texts
        if not arguments:
            return replace(self, text=text, breaks=())
        calls = [
            {**call, "function": {**call["function"], "arguments": new}}
            for call, new in zip(self.extra["tool_calls"], arguments, strict=True)
        ]
        return replace(self, text=text, extra={**self.extra, "tool_calls": calls}, breaks=())

    def wire(self) -> dict[str, Any]:
        """The message as OpenAI's chat API spells it."""
        return {"role": self.role, "content": self.text, **self.extra}


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the caller asked. `params` holds OpenAI's sampling fields by name, only those that were sent.

    model: `auto`, a tier's name or a pool's model id. raw: the one message's text is the engine's whole prompt, to be
    continued as it stands (the legacy completions API). task: `generate` an answer, or `embed` or `classify` each
    message, which needs no engine. version: of the caller's prompt, in the caller's words (`metadata.prompt_version`):
    a new one finds nothing in the semantic cache of what the old one left there. end_user: of the caller, as named in
    the request; `""`: none is. fields: a digest of what the request asks for beside its texts, unknown fields as well.
    clamps: `max_tokens` above what the key and the pool allow is lowered, not refused. resume: the last message is an
    assistant's, and the answer goes on with it.
    """

    messages: tuple[Message, ...]
    model: str = "auto"
    params: Mapping[str, Any] = field(default_factory=dict)
    clamps: bool = False
    resume: bool = False
    raw: bool = False
    task: str = "generate"
    version: str = ""
    end_user: str = ""
    fields: str = ""

    @property
    def choices(self) -> int:
        """How many answers were asked for (OpenAI's `n`)."""
        return int(self.params.get("n") or 1)

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text of every message, in order."""
        return tuple(text for message in self.messages for text in message.texts)

    def saying(self, texts: Sequence[str]) -> Prompt:
        """The same prompt with other `texts`."""
        left = iter(texts)
        messages = [message.saying([next(left) for _ in message.texts]) for message in self.messages]
        return replace(self, messages=tuple(messages))

    @property
    def question(self) -> str:
        """The last user message: what the encoder embeds. Empty when there is none."""
        return next((m.text for m in reversed(self.messages) if m.role == "user"), "")


@dataclass(frozen=True, slots=True)
class ToolDelta:
    """A piece of one tool call. index: which of the choice's calls; id and name come with its first piece."""

    index: int
    arguments: str = ""
    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of one choice's answer: often one model token, sometimes several, sometimes only its end.

    A piece of a tool call has `tool` and no text. kind: `text`, or `reasoning` where the text is what the model thought
    before it answered.
    logprobs: OpenAI's `choices[].logprobs.content` entries for this piece.
    finish_reason: set on the last Token of a choice: stop | length | tool_calls | content_filter.
    stop: with it, the stop sequence that ended the choice, where the engine says which.
    """

    text: str
    choice: int = 0
    logprobs: Sequence[Mapping[str, Any]] | None = None
    finish_reason: str | None = None
    tool: ToolDelta | None = None
    stop: str | None = None
    kind: str = "text"

    @property
    def reasoning(self) -> bool:
        """Whether it is what the model thought."""
        return self.kind == "reasoning"

    @property
    def part(self) -> int | str | None:
        """Which part of the choice it belongs to: None its text, `reasoning`, else the index of a tool call."""
        if self.tool:
            return self.tool.index
        return "reasoning" if self.reasoning else None

    @property
    def said(self) -> str:
        """What the model wrote: text, or a tool's arguments."""
        return self.tool.arguments if self.tool else self.text

    def saying(self, said: str) -> Token:
        """The same piece with other words."""
        return replace(self, tool=replace(self.tool, arguments=said)) if self.tool else replace(self, text=said)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens counted by the engine so far. Cumulative: the last one of a call is what is billed.

    cached: how many of `prompt` came from the engine's prefix cache. reasoning: how many of `completion` were thought
    and not answered. estimated: some of it was counted here, because the engine has not told it.
    """

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0
    estimated: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Judged:
    """What a model that is no engine says of each message, in their order.

    `embed`: float32 (dim,), unit length. `classify`: label -> score, 0..1.
    """

    results: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A stage said no. `choice` is set when only that answer ends (moderation); None ends the call."""

    stage: str
    error: ApiError
    choice: int | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Something broke. Ends the call."""

    error: ApiError


Event = Prompt | Token | Usage | Judged | Refusal | Failure
