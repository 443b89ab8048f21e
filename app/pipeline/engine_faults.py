"""An engine's error as the caller hears it: our own words, by its code and parameter.  generate -> [here] -> Failure.

What an engine writes names its classes and addresses, and may quote the prompt: it goes to the log, without any word of
the request.
"""

from __future__ import annotations

import re
from typing import Any

from app.core import errors
from app.core.errors import ApiError
from app.core.events import Prompt
from app.core.ports import EngineError
from app.engines.openai_stream import AUTO_TOOLS

_WORDS = {
    AUTO_TOOLS: "This model cannot choose for itself whether to call a tool: "
    "set `tool_choice` to `required`, `none` or a function.",
    "content_filter": "The model's provider refused the prompt by its content policy.",
}
_CODES = frozenset({"content_filter", "invalid_value", "invalid_type", "unsupported_value", "unsupported_parameter"})
"""Codes of OpenAI's that clients read; the engines' own are not told."""
_SAME = {"content_policy_violation": "content_filter", "content_policy": "content_filter"}
_ALIASES = {
    **dict.fromkeys(("input", "prompt", "input_tokens", "conversation"), "messages"),
    **dict.fromkeys(("structured_outputs", "guided_json", "guided_grammar", "guided_regex"), "response_format"),
    "functions": "tools",
    "max_completion_tokens": "max_tokens",
}
_HINTS = (
    (re.compile(r"grammar|schema|regex|structur|guided|json", re.IGNORECASE), ("response_format", "tools")),
    (re.compile(r"tool|function", re.IGNORECASE), ("tools", "tool_choice")),
    (re.compile(r"role|message|content|template", re.IGNORECASE), ("messages",)),
)
_NAME = re.compile(r"[a-z_]{1,64}")
_MOST_LOGGED = 400


def refused(failure: EngineError, prompt: Prompt) -> ApiError:
    """The caller's error (400) for a request that an engine does not take."""
    code = _SAME.get(failure.code or "", failure.code)
    param = parameter(failure, prompt)
    words = _WORDS.get(code or "")
    if words is None:
        what = f"the request's `{param}`" if param else "the request"
        words = f"The model cannot take {what} as it is. Simplify it, or leave out what is special about it."
    return errors.bad_request(words, param=param, code=code if code in _CODES else "invalid_value")


def parameter(failure: EngineError, prompt: Prompt) -> str | None:
    """The request's field that is at fault, by the engine's word or by what its sentence is about."""
    known = {*prompt.params, "messages"}
    found = _NAME.match(failure.param or "")
    for name in filter(None, (found and found[0], found and _ALIASES.get(found[0]))):
        if name in known:
            return str(name)
    for pattern, names in _HINTS:
        about = pattern.search(f"{failure.message} {failure.param}")
        if about and (hinted := next((one for one in names if one in known), None)):
            return hinted
    return None


def logged(failure: EngineError, prompt: Prompt) -> str:
    """The engine's words for the log: those that stand in the request too are left out."""
    said = {word for text in (*prompt.texts, *_strings(dict(prompt.params))) for word in re.findall(r"\w+", text)}
    words = re.sub(r"\w+", lambda word: "_" if word[0] in said else word[0], failure.message[:_MOST_LOGGED])
    return " ".join(words.split())


def _strings(value: Any) -> list[str]:
    """Every string of the request's fields, names included: they are the caller's too."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in _strings(one)]
    return [text for one in value for text in _strings(one)] if isinstance(value, list | tuple) else []
