"""Errors in the words and names of Anthropic's API, which agents parse.  ApiError -> [limits] -> errors.fault_body.

Claude Code compacts its conversation on `prompt is too long: N tokens > M maximum`, and lowers `max_tokens` on
``input length and `max_tokens` exceed context limit: A + B > C``.
"""

from __future__ import annotations

import re
from dataclasses import replace

from app.core.call import Call
from app.core.errors import ApiError

FIELDS = {
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "response_format": "output_config.format",
    "stop": "stop_sequences",
}
"""Fields of a request by their names in the other APIs -> by Anthropic's."""
_QUOTED = re.compile(r"([`'])(" + "|".join(FIELDS) + r")(?=[`'.\[])")


def in_anthropics_words(error: ApiError, call: Call | None = None) -> ApiError:
    """The same error. call: whose it is; its counts fill in what the error does not say."""
    if error.code == "context_length_exceeded" and "limit" in error.counts:
        return replace(error, message=_too_long(error, call))
    return replace(error, message=_QUOTED.sub(lambda found: found[1] + FIELDS[found[2]], error.message))


def _too_long(error: ApiError, call: Call | None) -> str:
    limit = error.counts["limit"]
    counted = call.prompt_tokens_low if call else 0
    asked = call.max_completion if call else 0
    tokens = error.counts.get("asked") or counted
    if tokens < limit < tokens + asked and call and call.prompt_tokens_high < limit:
        return (
            f"input length and `max_tokens` exceed context limit: {tokens} + {asked} > {limit}, "
            "decrease input length or `max_tokens` and try again"
        )
    # An engine counts its template too: where it refuses, there is at least one token too many.
    return f"prompt is too long: {max(tokens, limit + 1)} tokens > {limit} maximum"
