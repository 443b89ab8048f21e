"""What no engine answers: embeddings, moderations, tokens, models; and the gateway's own state."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.openapi.schemas.base import Shape


class EmbeddingUsage(Shape):
    """Tokens, as billed."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingOne(Shape):
    """One input's vector: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingList(Shape):
    """A vector of unit length for each input, in their order."""

    object: Literal["list"]
    data: list[EmbeddingOne]
    model: str
    usage: EmbeddingUsage


class ModerationResult(Shape):
    """One input's thirteen categories. A category whose applied input types are empty is not measured."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[Literal["text"]]]


class ModerationList(Shape):
    """A result for each input."""

    id: str
    model: str
    results: list[ModerationResult]


class ModelOne(Shape):
    """What `model` may be."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(Shape):
    """All of them."""

    object: Literal["list"]
    data: list[ModelOne]


class Facts(BaseModel):
    """An object of ours. object: what it is."""

    model_config = ConfigDict(extra="allow")
    object: str


class Tokenized(Shape):
    """max_model_len: the longest context of the pools that may answer. token_strs: always null."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: None


class Detokenized(Shape):
    """The text."""

    prompt: str


class Readiness(Shape):
    """waiting_for: what does not answer."""

    status: Literal["ready", "not ready"]
    waiting_for: list[str] = Field(default_factory=list)
