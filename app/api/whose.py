"""Whose request it is, and what it asks for beside its texts.  body -> [whose] -> request models -> Prompt.

Read from the body as it was sent, so that a field which nobody has heard of tells two requests apart as well: the
semantic cache shares an answer between requests that are alike in everything but a short list (NOT_IDENTITY).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Self, TypedDict

import orjson
from pydantic import ModelWrapValidatorHandler, PrivateAttr, model_validator

from app.api.openai.wire import Wire

NOT_IDENTITY = frozenset(
    {"model", "stream", "stream_options", "background", "store", "previous_response_id", "service_tier"}
)
"""Fields that change nothing in an answer, or stand in the Prompt in their own right."""
TRACING = frozenset({"trace_id", "request_id", "span_id", "trace", "timestamp", "prompt_version"})
"""Keys of `metadata` that differ from call to call and name nobody."""
TEXTS = frozenset({"messages", "input", "system", "instructions", "prompt"})
"""Fields whose words are the Prompt's messages; what else stands in them counts."""
WORDS = frozenset({"text", "content", "id", "status", "cache_control", "arguments", "output", "refusal"})
"""Within those: words, and what differs from call to call."""
NAMING = ("user", "safety_identifier")
NAMES = ("user", "customer", "account", "member", "client", "person", "patient", "employee", "email")
"""What a key of `metadata` contains that names somebody."""


class Identity(TypedDict):
    """As Prompt's fields of these names."""

    end_user: str
    fields: str


class Identified(Wire):
    """A request that knows its Identity."""

    _identity: Identity = PrivateAttr(default_factory=lambda: Identity(end_user="", fields=""))

    @model_validator(mode="wrap")
    @classmethod
    def _know(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        made = handler(data)
        if isinstance(data, Mapping):
            made._identity = identity(data)  # noqa: SLF001 - its own
        return made

    @property
    def identity(self) -> Identity:
        """Of the body that it was read from."""
        return self._identity


def identity(body: Mapping[str, Any]) -> Identity:
    """Of a request that was checked."""
    metadata = body.get("metadata") if isinstance(body.get("metadata"), Mapping) else None
    tagged = {key: value for key, value in (metadata or {}).items() if key not in TRACING and value is not None}
    named = [body[name] for name in NAMING if body.get(name)]
    named += [value for key, value in tagged.items() if value and any(name in key.casefold() for name in NAMES)]
    form = {name: _form(value) if name in TEXTS else value for name, value in body.items() if _counts(name, value)}
    digest = hashlib.sha256(orjson.dumps(form | {"metadata": tagged}, option=orjson.OPT_SORT_KEYS))
    return {"end_user": orjson.dumps(named).decode() if named else "", "fields": digest.hexdigest()}


def _counts(name: str, value: Any) -> bool:
    return value is not None and name not in NOT_IDENTITY


def _form(node: Any) -> Any:
    """What stands in messages beside their words."""
    if isinstance(node, str):
        return None
    if isinstance(node, Mapping):
        return {
            key: _form(value) if key in WORDS else value
            for key, value in node.items()
            if value is not None and not (key in WORDS and isinstance(value, str | Mapping))
        }
    return [_form(one) for one in node] if isinstance(node, list) else node
