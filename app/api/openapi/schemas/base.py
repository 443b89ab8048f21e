"""What shapes share, OpenAI's error and its usage."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """Exactly these keys; those without a default are always there."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class ErrorFacts(Shape):
    """What went wrong. code: for programs; param: which part of the request it is about."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(Shape):
    """Every error of these routes."""

    error: ErrorFacts


class PromptDetails(Shape):
    """cached_tokens: of the prompt, those that an engine's prefix cache served."""

    cached_tokens: int
    audio_tokens: int


class CompletionDetails(Shape):
    """Always 0: no pool reports them."""

    reasoning_tokens: int
    audio_tokens: int


class TokenUsage(Shape):
    """Tokens, as billed."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails
