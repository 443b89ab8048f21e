"""vLLM's own parameters, as people send them who come from it.  request -> [extensions] -> Prompt.

They reach the pools that know them and are part of the cache's identity. What constrains the answer is held to the
same bounds as a JSON Schema: it is compiled in the engine's process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any

from pydantic import Field

from app.api.bounds import MAX_TOKENS
from app.api.json_schema_bounds import MAX_ENUM_LENGTH, MAX_ENUM_VALUES, bounded, bounded_pattern, compiled
from app.api.openai.wire import Wire
from app.core import errors
from app.core.loose_json import loads

GUIDED = {f"guided_{name}": name for name in ("json", "regex", "choice", "grammar")}
"""How older releases of vLLM spell `structured_outputs`."""
KINDS = ("json", "regex", "choice", "grammar", "json_object")
"""What `structured_outputs` may hold, one of them."""
MAX_GRAMMAR = 20_000
"""Characters of a grammar."""
MAX_GRAMMAR_DEPTH = 64
"""Brackets in each other: an engine's parser is recursive."""
PLAIN = (
    *("top_k", "min_p", "repetition_penalty", "min_tokens", "stop_token_ids", "ignore_eos", "skip_special_tokens"),
    "include_stop_str_in_output",
)
"""What reaches the engine as it stands."""
Free = Annotated[dict[str, Any], Field(max_length=64)]


class Extensions(Wire):
    """vLLM's fields. `top_k` -1 or 0 is none; the `guided_*` stand for `structured_outputs`."""

    top_k: Annotated[int, Field(ge=-1, le=1_000_000)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=100)] | None = None
    min_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] | None = None
    stop_token_ids: Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(max_length=1_000)] | None = None
    ignore_eos: bool | None = None
    skip_special_tokens: bool | None = None
    include_stop_str_in_output: bool | None = None
    structured_outputs: Free | None = None
    guided_json: Any = None
    guided_regex: Any = None
    guided_choice: Any = None
    guided_grammar: Any = None
    chat_template_kwargs: Free | None = None

    def for_engine(self, template_kwargs: Collection[str] = ()) -> dict[str, Any]:
        """What was sent, under vLLM's names. template_kwargs: those of the chat template that a caller may set.

        Raises ApiError (400).
        """
        sent = {name: value for name in PLAIN if (value := getattr(self, name)) is not None}
        if (constraint := self._constraint()) is not None:
            sent["structured_outputs"] = constraint
        for name in self.chat_template_kwargs or ():
            if name not in template_kwargs:
                param = f"chat_template_kwargs.{name[:64]}"
                known = ", ".join(sorted(template_kwargs)) or "none"
                why = f"this installation lets a request set only these of the template's arguments: {known}"
                raise errors.bad_request(f"Invalid value for '{param}': {why}.", param, "invalid_value")
        if self.chat_template_kwargs:
            sent["chat_template_kwargs"] = self.chat_template_kwargs
        return sent

    def _constraint(self) -> dict[str, Any] | None:
        """`structured_outputs`, one kind of it. Raises ApiError (400)."""
        sent = {name: kind for name, kind in GUIDED.items() if getattr(self, name) is not None}
        given = {kind: (name, getattr(self, name)) for name, kind in sent.items()}
        for kind, value in (self.structured_outputs or {}).items():
            if value is not None:
                given[kind] = (f"structured_outputs.{kind[:64]}", value)
        if not given:
            return None
        kind, (param, value) = next(iter(given.items()))
        try:
            if len(given) > 1 or kind not in KINDS:
                msg = f"send one of {', '.join(KINDS)}"
                raise ValueError(msg)  # noqa: TRY301 - one place turns all of them into the caller's error
            return {kind: CHECKS[kind](value)}
        except ValueError as error:
            raise errors.bad_request(f"Invalid value for '{param}': {error}.", param, "invalid_value") from None


def _json(value: Any) -> dict[str, Any]:
    """A schema, or the text of one."""
    schema = loads(value.encode()) if isinstance(value, str) else value
    if not isinstance(schema, dict):
        msg = "it must be a JSON Schema, an object"
        raise ValueError(msg)  # noqa: TRY004 - one kind of fault
    return compiled(bounded(schema))


def _regex(value: Any) -> str:
    return bounded_pattern(_text(value))


def _choice(value: Any) -> list[str]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_ENUM_VALUES:
        msg = f"it must be a list of 1 to {MAX_ENUM_VALUES:,} texts"
        raise ValueError(msg)
    return [_text(one, MAX_ENUM_LENGTH) for one in value]


def _grammar(value: Any) -> str:
    text, depth, deepest = _text(value, MAX_GRAMMAR), 0, 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    if deepest > MAX_GRAMMAR_DEPTH:
        msg = f"it has over {MAX_GRAMMAR_DEPTH} brackets in each other"
        raise ValueError(msg)
    return text


def _text(value: Any, most: int = MAX_ENUM_LENGTH) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > most or "\0" in value:
        msg = f"it must be a text of 1 to {most:,} characters"
        raise ValueError(msg)
    return value


def _any_object(value: Any) -> bool:
    if value is not True:
        msg = "it must be true, or left out"
        raise ValueError(msg)
    return True


CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "json": _json,
    "regex": _regex,
    "choice": _choice,
    "grammar": _grammar,
    "json_object": _any_object,
}


def greedy(params: dict[str, Any]) -> dict[str, Any]:
    """`top_p: 0` as temperature 0, by which engines know that the likeliest token is meant."""
    if params.get("top_p") != 0:
        return params
    return {name: value for name, value in params.items() if name != "top_p"} | {"temperature": 0}
