"""A completion request, parsed strictly, as Prompts: one for each text.  body -> [wire] -> routes.completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, model_validator

from app.api.bounds import MAX_TEXT, Biases, EndUser, Model, Prose, Seed, Stop, Tokens
from app.api.openai.chat.extensions import Extensions, greedy
from app.api.openai.unread import Unread
from app.api.openai.wire import StreamOptions
from app.api.validation import fit, load
from app.api.whose import Identified
from app.core import errors
from app.core.events import Message, Prompt
from app.core.ports import Tokenizer

MAX_IDS = 1_000_000
"""Token ids of one text."""
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
Id = Annotated[int, Field(ge=0, lt=2**31)]
Ids = Annotated[list[Id], Field(min_length=1, max_length=MAX_IDS)]
PLAIN = ("n", "stop", "seed", "temperature", "top_p", "frequency_penalty", "presence_penalty", "logit_bias")
"""What reaches the engine under the same name."""
MOST = 128
"""Choices of one request, over all its prompts."""


class CompletionRequest(Extensions, Identified):
    """`POST /v1/completions`. Bounds are OpenAI's, and `Extensions` vLLM's.

    prompt: text, or token ids of the gateway's tokenizer.
    """

    model: Model
    prompt: Text | Ids | Annotated[list[Text] | list[Ids], Field(min_length=1, max_length=MOST)]
    suffix: Prose | None = None
    max_tokens: Tokens | None = None
    echo: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=MOST)] | None = None
    best_of: Annotated[int, Field(ge=1, le=20)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    seed: Seed | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: Biases | None = None
    user: EndUser | None = None

    @model_validator(mode="after")
    def _not_too_many(self) -> CompletionRequest:
        several = len(self.prompt) if isinstance(self.prompt, list) and not isinstance(self.prompt[0], int) else 1
        if several * (self.n or 1) > MOST:
            msg = f"prompt times n is over {MOST} choices; send fewer prompts at once"
            raise ValueError(msg)
        return self

    def prompts(self, tokenizer: Tokenizer | None) -> list[Prompt]:
        """One for each text. Raises ApiError (400) for token ids that cannot be turned into text."""
        sent = {name: value for name in PLAIN if (value := getattr(self, name)) is not None}
        sent["max_tokens"] = self.max_tokens or 16
        if self.logprobs is not None:
            sent |= {"logprobs": True, "top_logprobs": self.logprobs}
        sent = greedy(sent | self.for_engine())
        given = texts(self.prompt, tokenizer)
        return [Prompt((Message("user", text),), self.model, sent, raw=True, **self.identity) for text in given]

    @property
    def include_usage(self) -> bool:
        return bool(self.stream and self.stream_options and self.stream_options.include_usage)


def texts(given: str | Sequence[Any], tokenizer: Tokenizer | None, param: str = "prompt") -> list[str]:
    """A text, texts, token ids or lists of them, as texts. Raises ApiError (400)."""
    if isinstance(given, str):
        return [given]
    if isinstance(given[0], str):
        return list(given)
    several: list[Any] = [given] if isinstance(given[0], int) else list(given)
    if tokenizer is None:
        raise errors.no_tokenizer(param)
    try:
        return [tokenizer.decode(ids) for ids in several]
    except ValueError as error:
        raise errors.bad_request(f"Invalid value for '{param}': {error}.", param, "invalid_value") from None


def read(body: bytes) -> tuple[CompletionRequest, Unread]:
    """Parse and check a request body; and what of it is not read. Raises ApiError (400)."""
    data = load(body)
    if data.get("stream_options") is not None and not data.get("stream"):
        why = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise errors.bad_request(why, "stream_options")
    asked = fit(CompletionRequest, data)
    if asked.suffix:
        raise errors.unsupported("suffix", "No pool inserts text before a `suffix`. Leave `suffix` out.")
    if asked.best_of not in (None, asked.n or 1):
        raise errors.unsupported("best_of", "Answers are not ranked: leave `best_of` out, or ask for as many with `n`.")
    if asked.echo and asked.logprobs is not None:
        raise errors.unsupported("echo", "The prompt's own logprobs are not known: leave out `echo` or `logprobs`.")
    return asked, Unread.of(data, CompletionRequest)
