"""Errors of the stages, which speak of chat's fields, by the names that the Responses API has for them."""

from __future__ import annotations

import re
from dataclasses import replace

from app.core.errors import ApiError

FIELDS = {
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
}
_QUOTED = re.compile("`(" + "|".join(FIELDS) + ")`")


def in_responses_words(error: ApiError) -> ApiError:
    """The same error."""
    message = _QUOTED.sub(lambda found: f"`{FIELDS[found[1]]}`", error.message)
    return replace(error, message=message, param=FIELDS.get(error.param or "", error.param))
