"""What vLLM finds wrong with a request is the caller's fault and no failure of the pool."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from deployments.request_faults import request_fault


class VLLMClientError(Exception):
    """As vLLM's own, by name."""


class VLLMValidationError(VLLMClientError):
    def __init__(self, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class Body(BaseModel):
    tools: list[int]


@pytest.mark.parametrize(
    ("error", "param"),
    [
        (VLLMValidationError("no", "tool_choice"), "tool_choice"),
        (VLLMClientError("no"), None),
        (ValueError("bad schema"), None),
        (TypeError("not a dict"), None),
        (KeyError("type"), None),
    ],
)
def test_a_request_that_vllm_refuses_is_asked_of_no_other_pool(error: Exception, param: str | None) -> None:
    fault = request_fault(error)
    assert fault is not None
    assert (fault.retryable, fault.param) == (False, param)


def test_the_field_that_vllms_schema_refuses_is_named() -> None:
    with pytest.raises(ValidationError) as caught:
        Body.model_validate({"tools": ["x"]})
    fault = request_fault(caught.value)
    assert fault is not None
    assert (fault.retryable, fault.param) == (False, "tools.0")


@pytest.mark.parametrize("error", [RuntimeError("dead"), OSError("gone"), AssertionError()])
def test_a_failure_of_the_engine_is_not_the_requests(error: Exception) -> None:
    assert request_fault(error) is None


def test_a_prompt_too_long_keeps_its_code() -> None:
    error: Any = ValueError("This model's maximum context length is 2048 tokens.")
    fault = request_fault(error)
    assert fault is not None
    assert fault.code == "context_length_exceeded"
