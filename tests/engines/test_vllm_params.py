"""Parameters as vLLM takes them."""

from __future__ import annotations

from typing import Any

import pytest

from app.engines.vllm_params import for_vllm


@pytest.mark.parametrize("temperature", [0, 0.0, 1e-6])
def test_several_answers_by_the_likeliest_token_are_drawn_from_it_alone(temperature: float) -> None:
    sent = for_vllm({"n": 2, "temperature": temperature, "top_p": 0.5, "min_p": 0.1, "max_tokens": 9})
    assert {"n": 2, "temperature": 1.0, "top_k": 1, "max_tokens": 9} == sent


@pytest.mark.parametrize(
    "params", [{"n": 1, "temperature": 0}, {"temperature": 0}, {"n": 2}, {"n": 2, "temperature": 0.5, "top_p": 0.5}]
)
def test_all_else_stays(params: dict[str, Any]) -> None:
    assert params == for_vllm(params)
