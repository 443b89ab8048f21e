"""No word of an engine reaches a caller, and no word of a caller the log."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from app.core.events import Failure, Message, Prompt
from app.core.ports import EngineError
from app.engines.openai_stream import AUTO_TOOLS, engine_error
from app.pipeline.engine_faults import logged, parameter, refused
from app.testing.fakes import FakeEngine
from tests.kit import Kit, ask, run

INNARDS = "VLLMValidationError at http://10.0.0.7:8000: structural_tag.triggers of Ada's card 4111"
SCHEMA = {"response_format": {"type": "json_schema"}, "tools": [{"type": "function"}]}


def prompt(**params: Any) -> Prompt:
    return Prompt((Message("user", "I am Ada, card 4111"),), params=params)


def fault(message: str, param: str | None = None, code: str | None = None) -> EngineError:
    return EngineError(message, retryable=False, param=param, code=code)


async def test_a_caller_reads_our_words_and_the_log_the_engines(caplog: pytest.LogCaptureFixture) -> None:
    engine = FakeEngine(fail="before_first", error=fault(INNARDS, "structured_outputs.json.0", "17"))
    world = Kit(engines={"a": engine, "b": FakeEngine()})
    with caplog.at_level(logging.WARNING):
        _, events = await run(world.gateway(), ask("I am Ada, card 4111", model="small", **SCHEMA))
    (failure,) = events
    assert isinstance(failure, Failure)
    assert (failure.error.status, failure.error.code, failure.error.param) == (400, "invalid_value", "response_format")
    assert not any(word in failure.error.message for word in ("VLLM", "10.0.0.7", "structural_tag", "Ada"))
    assert "structural_tag" in caplog.text
    assert "4111" not in caplog.text
    assert world.rows[0].cost == 0


async def test_a_refused_request_rests_no_pool() -> None:
    engine = FakeEngine(fail="before_first", failures=1, error=fault("no"))
    world = Kit(engines={"a": engine, "b": FakeEngine()})
    gateway = world.gateway()
    await run(gateway, ask("one", model="small"))
    call, _ = await run(gateway, ask("two", model="small"))
    assert (call.pool, world.engines["b"].requests) == ("a", [])


@pytest.mark.parametrize(
    ("message", "param", "right"),
    [
        ("no", "response_format.json_schema", "response_format"),
        ("no", "guided_json", "response_format"),
        ("Invalid grammar", None, "response_format"),
        ("no", "extra.0.tool_parser", "tools"),
        ("the chat template does not take this role", None, "messages"),
        ("no", "kv_transfer_params", None),
        ("no", None, None),
    ],
)
def test_the_field_is_one_of_the_requests(message: str, param: str | None, right: str | None) -> None:
    assert parameter(fault(message, param), prompt(**SCHEMA)) == right


def test_a_field_that_was_not_sent_is_not_named() -> None:
    assert parameter(fault("Invalid grammar", "response_format"), prompt()) is None


@pytest.mark.parametrize("code", ["content_filter", "content_policy_violation"])
def test_a_providers_content_policy_is_named(code: str) -> None:
    assert refused(fault("no", code=code), prompt()).code == "content_filter"


def test_a_model_that_cannot_choose_tools_says_what_to_set() -> None:
    assert "`tool_choice`" in refused(fault("x", "tools", AUTO_TOOLS), prompt(**SCHEMA)).message


def test_no_word_of_the_request_is_logged() -> None:
    asked = prompt(tools=[{"function": {"name": "call_ada"}}])
    assert logged(fault("Ada with 4111 in call_ada is bad"), asked) == "_ with _ in _ is bad"


@pytest.mark.parametrize("status", [301, 401, 402, 403, 404, 405, 408, 409, 418, 429, 451, 500, 502, 503, 529])
def test_what_an_upstream_has_against_us_is_ours(status: int) -> None:
    assert engine_error({"error": {"message": "no", "type": "invalid_request_error"}}, status).retryable


@pytest.mark.parametrize(
    "error", [{"code": "model_not_found"}, {"code": "insufficient_quota"}, {"type": "authentication_error"}]
)
def test_what_is_between_us_and_an_upstream_is_ours_under_any_status(error: dict[str, Any]) -> None:
    assert engine_error({"error": error}, 400).retryable


@pytest.mark.parametrize("body", [None, [], 3, "x", {"error": [1]}, {"error": {"message": {}, "code": {}, "param": 3}}])
def test_an_error_of_any_shape_is_read(body: Any) -> None:
    assert isinstance(engine_error(body, 400).message, str)
    assert engine_error(body).retryable
