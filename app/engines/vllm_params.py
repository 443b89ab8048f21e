"""A request's parameters as vLLM takes them, where it refuses what OpenAI's API allows.  engine -> [vllm_params]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EXTENSIONS = frozenset(
    {
        *("top_k", "min_p", "repetition_penalty", "min_tokens", "stop_token_ids", "ignore_eos", "skip_special_tokens"),
        *("include_stop_str_in_output", "structured_outputs", "chat_template_kwargs"),
    }
)
"""Parameters that OpenAI's API does not have."""
GREEDY = 1e-5
"""Below this temperature vLLM samples greedily."""
_NO_RANDOMNESS = ("top_p", "min_p", "seed")


def for_vllm(params: Mapping[str, Any]) -> dict[str, Any]:
    """The same request. Several answers by the likeliest token are equal ones, which vLLM generates only if told to
    draw from the one likeliest token at an ordinary temperature.
    """
    sent = dict(params)
    temperature = sent.get("temperature")
    if (sent.get("n") or 1) > 1 and temperature is not None and temperature < GREEDY:
        for name in _NO_RANDOMNESS:
            sent.pop(name, None)
        sent |= {"temperature": 1.0, "top_k": 1}
    return sent
