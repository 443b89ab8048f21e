"""How the HTTP surface meets clients: browsers, fields that are not known, other names of models."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import Field

from app.config.base import Strict


class Api(Strict):
    """origins: web pages that may call the API from a browser (`https://app.example.com`, or `*` for all); none: CORS
    is off. unknown_fields: what becomes of a request's fields that nobody reads: `ignore` names them in the header
    `x-penstock-ignored`, `refuse` answers 400. chat_template_kwargs: the arguments of a model's chat template that a
    caller may set. token_ids: whether `/v1/embeddings` takes token ids, which must be of this gateway's tokenizer.
    """

    origins: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    unknown_fields: Literal["ignore", "refuse"] = "ignore"
    chat_template_kwargs: list[str] = Field(default_factory=lambda: ["enable_thinking", "thinking"])
    token_ids: bool = False


def target(aliases: Mapping[str, str], name: str) -> str:
    """What a model's name stands for: itself, where no alias does. An exact one goes before a pattern (`claude-*`)."""
    if name in aliases:
        return aliases[name]
    return next((to for pattern, to in aliases.items() if "*" in pattern and fnmatchcase(name, pattern)), name)
