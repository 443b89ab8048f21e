"""An OpenAI chat stream becomes Tokens and Usage, and its errors become EngineErrors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.core.events import Token, Usage
from app.core.ports import EngineError
from app.engines.openai_stream import ChatStream, engine_error


def chunk(text: str | None = None, index: int = 0, finish: str | None = None, **more: Any) -> dict[str, Any]:
    delta = {} if text is None else {"content": text}
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}], **more}


def usage(prompt: int, completion: int, cached: int | None = None) -> dict[str, Any]:
    counts: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion}
    if cached is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": cached}
    return {"usage": counts}


def sse(payload: object) -> str:
    return f"data: {json.dumps(payload)}\n\n"


def test_text_becomes_a_token() -> None:
    assert Token("Hi") in ChatStream().feed(chunk("Hi"))


def test_the_role_alone_says_nothing() -> None:
    assert ChatStream().feed({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}) == []


def test_the_end_of_a_choice_is_a_token_without_text() -> None:
    assert ChatStream().feed(chunk(finish="length", index=1)) == [Token("", choice=1, finish_reason="length")]


@pytest.mark.parametrize(("said", "stop"), [("END", "END"), (2, None), (None, None)])
def test_the_stop_sequence_that_ended_a_choice_is_told_and_a_token_id_is_not(said: object, stop: str | None) -> None:
    data = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": said}]}
    assert ChatStream().feed(data) == [Token("", finish_reason="stop", stop=stop)]


def test_logprobs_are_the_content_entries() -> None:
    entry = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}
    data = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "logprobs": {"content": [entry]}}]}
    assert ChatStream().feed(data)[-1] == Token("Hi", logprobs=[entry])


def test_usage_comes_before_the_token_that_it_counts() -> None:
    assert ChatStream().feed(chunk("Hi", **usage(5, 1))) == [Usage(5, 1, 0), Token("Hi")]


def test_a_chunk_counts_its_own_choice_only() -> None:
    stream = ChatStream()
    for index, completion in ((0, 1), (1, 1), (0, 2), (1, 2)):
        stream.feed(chunk("a", index, **usage(5, completion)))
    assert stream.usage == Usage(5, 4, 0)


def test_a_token_without_text_is_counted_for_its_choice() -> None:
    stream = ChatStream()
    stream.feed(chunk("", 1, **usage(5, 3)))
    assert stream.usage == Usage(5, 3, 0)


def test_the_last_usage_is_the_whole_answer_with_what_was_cached() -> None:
    stream = ChatStream()
    stream.feed(chunk("a", **usage(5, 1)))
    assert stream.feed({"choices": [], **usage(5, 9, cached=4)}) == [Usage(5, 9, 4)]


def test_without_usage_every_piece_counts_as_one_until_the_true_count_arrives() -> None:
    stream = ChatStream()
    stream.feed(chunk("a", usage=None))
    stream.feed(chunk("b", usage=None))
    assert stream.usage == Usage(0, 2, 0)
    stream.feed({"choices": [], **usage(7, 3)})
    assert stream.usage == Usage(7, 3, 0)


def test_sse_text_is_read_with_comments_names_and_several_events_at_once() -> None:
    text = ": keep-alive\n\nevent: message\n" + sse(chunk("a")) + sse(chunk("b")) + "data: [DONE]\n\n"
    stream = ChatStream()
    assert [e.text for e in stream.feed(text) if isinstance(e, Token)] == ["a", "b"]
    assert stream.done


def test_bytes_lines_and_a_missing_space_are_read_too() -> None:
    stream = ChatStream()
    assert Token("é") in stream.feed(b'data:{"choices":[{"index":0,"delta":{"content":"\xc3\xa9"}}]}')
    assert stream.feed("") == []


def test_a_line_break_inside_json_text_does_not_split_it() -> None:
    assert Token("a\u2028b\x85c") in ChatStream().feed('data: {"choices":[{"delta":{"content":"a\u2028b\x85c"}}]}\n\n')


@pytest.mark.parametrize("text", ["data: <html>", "data: 3", "data: null"])
def test_what_is_no_chunk_is_another_pools_chance(text: str) -> None:
    with pytest.raises(EngineError) as caught:
        ChatStream().feed(text)
    assert caught.value.retryable


def test_an_error_in_the_stream_is_raised() -> None:
    with pytest.raises(EngineError, match="gone") as caught:
        ChatStream().feed(sse({"error": {"message": "gone", "type": "InternalServerError", "code": 500}}))
    assert caught.value.retryable


TOO_LONG = (
    "This model's maximum context length is 2048 tokens. However, you requested 0 output tokens.",
    "The decoder prompt (length 2048) plus the output tokens (at least 1) is longer than the maximum model length.",
    "Input length (3000) exceeds model's maximum context length (2048).",
)


@pytest.mark.parametrize("message", TOO_LONG)
def test_a_prompt_too_long_is_known_by_its_sentence(message: str) -> None:
    error = engine_error({"error": {"message": message + " (parameter=input_tokens, value=2049)", "code": 400}})
    assert (error.code, error.retryable, error.param) == ("context_length_exceeded", False, "messages")
    assert error.message == message


def test_a_prompt_too_long_is_known_by_its_code() -> None:
    error = engine_error({"error": {"message": "too big", "code": "context_length_exceeded"}}, 400)
    assert (error.code, error.retryable) == ("context_length_exceeded", False)


def test_a_bad_request_is_the_callers_fault_and_names_the_parameter() -> None:
    error = engine_error({"error": {"message": "no", "param": "temperature", "code": 400, "type": "BadRequestError"}})
    assert (error.retryable, error.param, error.code) == (False, "temperature", None)


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 500, 502, 503, 529])
def test_another_pool_may_do_better(status: int) -> None:
    assert engine_error(None, status).retryable


@pytest.mark.parametrize("status", [400, 413, 422])
def test_another_pool_would_say_the_same(status: int) -> None:
    assert not engine_error({"error": {"message": "no"}}, status).retryable


@pytest.mark.parametrize("kind", ["server_error", "overloaded_error", "rate_limit_error"])
def test_an_error_without_a_status_is_judged_by_its_type(kind: str) -> None:
    assert engine_error({"error": {"message": "busy", "type": kind}}).retryable


def test_an_error_that_is_only_a_sentence_is_kept() -> None:
    assert engine_error({"error": "nope"}, 400).message == "nope"
