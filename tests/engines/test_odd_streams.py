"""Whatever an engine sends becomes whole Tokens and bounded counts, or an EngineError."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.events import Token, Usage
from app.core.ports import EngineError
from app.engines.choice_stream import REASONING
from app.engines.loose_json import MOST
from app.engines.openai_stream import ChatStream

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def object_of(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


counts = json_values | st.integers(-5, 10**13) | st.sampled_from(["7", " 8 ", "7.0", "1e400", "-1", "x", 7.0])
details = json_values | object_of(cached_tokens=counts, reasoning_tokens=counts)
usages = json_values | object_of(
    prompt_tokens=counts,
    completion_tokens=counts,
    input_tokens=counts,
    total_tokens=counts,
    prompt_tokens_details=details,
    completion_tokens_details=details,
)
functions = json_values | object_of(name=json_values, arguments=json_values)
calls = json_values | st.lists(
    object_of(index=json_values | st.integers(0, 2), id=json_values | st.just("c0"), function=functions), max_size=3
)
deltas = json_values | object_of(
    content=json_values, reasoning=json_values, thinking=json_values, tool_calls=calls, function_call=functions
)
choices = json_values | object_of(
    index=json_values | st.integers(0, 2),
    delta=deltas,
    message=deltas,
    text=json_values,
    finish_reason=json_values | st.just("stop"),
    stop_reason=json_values,
    logprobs=json_values
    | object_of(tokens=json_values, token_logprobs=json_values, top_logprobs=json_values, content=json_values),
    usage=usages,
)
chunks = json_values | object_of(choices=json_values | st.lists(choices, max_size=3), usage=usages, x_groq=json_values)


@given(st.lists(chunks, max_size=6), st.sampled_from([None, 1, 2]))
def test_any_chunks_are_read_or_an_engine_error(sent: list[Any], asked: int | None) -> None:
    stream = ChatStream(asked)
    events: list[Token | Usage] = []
    try:
        for chunk in sent:
            events += stream.event(json.dumps(chunk))
    except EngineError:
        pass
    events += [*stream.end(), stream.usage]
    said = [event for event in events if isinstance(event, Token)]
    for usage in (event for event in events if isinstance(event, Usage)):
        assert 0 <= usage.cached <= usage.prompt <= MOST
        assert 0 <= usage.reasoning <= usage.completion
    for token in said:
        token.said.encode()  # no half characters
        assert token.finish_reason in {None, "stop", "length", "tool_calls", "content_filter"}
    for choice in {token.choice for token in said}:
        mine = [token for token in said if token.choice == choice]
        assert [token.finish_reason is not None for token in mine] == [False] * (len(mine) - 1) + [True]
        opened = [token.tool.index for token in mine if token.tool and token.tool.id]
        assert opened == list(range(len(opened)))
        assert {token.tool.index for token in mine if token.tool} == set(opened)


@given(st.lists(st.integers(0, 500), min_size=1, max_size=8))
def test_the_largest_count_that_was_told_holds(told: list[int]) -> None:
    stream = ChatStream()
    for count in told:
        stream.feed({"choices": [], "usage": {"prompt_tokens": count, "completion_tokens": count}})
    assert stream.usage == Usage(max(told), max(told))


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ({"prompt_tokens": "7", "completion_tokens": 5.0}, Usage(7, 5)),
        ({"prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": [1]}, Usage(7, 5)),
        ({"input_tokens": 7, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 9}}, Usage(7, 5, 7)),
        ({"total_tokens": 12, "completion_tokens": 5}, Usage(7, 5)),
        ({"total_tokens": 12, "prompt_tokens": 7}, Usage(7, 5)),
        (
            {
                "total_tokens": 15,
                "prompt_tokens": 7,
                "completion_tokens": 5,
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(7, 8, 0, 3),
        ),
    ],
)
def test_usage_is_read_under_its_other_names_and_types(said: dict[str, Any], right: Usage) -> None:
    stream = ChatStream()
    stream.feed({"choices": [], "usage": said})
    assert stream.usage == right
    assert not stream.usage.estimated


@pytest.mark.parametrize("said", [None, {}, "x", [1], {"prompt_tokens": -7}, {"prompt_tokens": None}, {"prompt": 7}])
def test_what_is_not_told_is_counted_and_said_to_be(said: Any) -> None:
    stream = ChatStream()
    stream.feed({"choices": [{"delta": {"content": "a"}}], "usage": said})
    assert (stream.usage, stream.usage.estimated) == (Usage(0, 1), True)


@pytest.mark.parametrize("place", [{"usage": {"prompt_tokens": 4}}, {"x_groq": {"usage": {"prompt_tokens": 4}}}])
def test_usage_is_found_where_servers_put_it(place: dict[str, Any]) -> None:
    stream = ChatStream()
    stream.feed({"choices": [], **place})
    assert stream.usage.prompt == 4


def chunk(index: int, text: str, completion: int) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": {"content": text}}], "usage": {"completion_tokens": completion}}


@pytest.mark.parametrize(
    ("sent", "right"),
    [
        ([(0, "a", 1), (1, "b", 2), (0, "", 2), (1, "", 2)], 2),  # of the whole answer
        ([(0, "a", 1), (1, "b", 1), (0, "c", 2), (1, "d", 2)], 4),  # of each choice
        ([(0, "abcd", 4), (1, "efgh", 4)], 8),  # of each choice, several tokens in a piece
    ],
)
def test_running_totals_are_told_from_counts_of_each_choice(sent: list[tuple[int, str, int]], right: int) -> None:
    stream = ChatStream(2)
    for one in sent:
        stream.feed(chunk(*one))
    assert stream.usage.completion == right


# -- tool calls ------------------------------------------------------------------------------------


def piece(arguments: Any = None, index: Any = None, id_: str | None = None, name: str | None = None) -> dict[str, Any]:
    one = {"index": index, "id": id_, "function": {"name": name, "arguments": arguments}}
    return {"choices": [{"delta": {"tool_calls": [one]}}]}


def made(*sent: dict[str, Any], finish: str = "tool_calls") -> list[tuple[str, str]]:
    stream = ChatStream()
    events = [event for one in sent for event in stream.feed(one)]
    events += stream.feed({"choices": [{"delta": {}, "finish_reason": finish}]})
    calls: dict[int, list[str]] = {}
    for event in events:
        if isinstance(event, Token) and event.tool:
            if event.tool.id:
                calls[event.tool.index] = [event.tool.name or "", ""]
            calls[event.tool.index][1] += event.tool.arguments
    return [(name, arguments) for name, arguments in calls.values()]


def test_interleaved_pieces_are_joined_by_index() -> None:
    sent = piece("", 0, "c0", "f"), piece("", 1, "c1", "g"), piece('{"a":', 0), piece('{"b":', 1)
    assert made(*sent, piece("1}", 0), piece("2}", 1)) == [("f", '{"a":1}'), ("g", '{"b":2}')]


def test_pieces_without_index_are_joined_by_id() -> None:
    sent = piece("", id_="c0", name="f"), piece("", id_="c1", name="g"), piece('{"a":', id_="c0"), piece("{}", id_="c1")
    assert made(*sent, piece("1}", id_="c0")) == [("f", '{"a":1}'), ("g", "{}")]


@pytest.mark.parametrize("index", [None, 0])
def test_a_new_name_opens_a_call_where_there_are_no_ids(index: int | None) -> None:
    assert made(piece("{}", index, name="f"), piece("{}", index, name="g")) == [("f", "{}"), ("g", "{}")]


def test_the_same_function_called_twice_is_two_calls() -> None:
    assert made(piece('{"a":1}', 0, name="f"), piece('{"a":2}', 0, name="f")) == [("f", '{"a":1}'), ("f", '{"a":2}')]


def test_a_name_repeated_with_every_piece_is_one_call() -> None:
    assert made(piece('{"a":', 0, name="f"), piece("1}", 0, name="f")) == [("f", '{"a":1}')]


def test_another_id_with_every_piece_is_one_call() -> None:
    assert made(piece('{"a":', 0, "x1", "f"), piece("1}", 0, "x2")) == [("f", '{"a":1}')]


def test_a_call_begins_once_its_name_is_known() -> None:
    assert made(piece('{"a":', 0, "c0"), piece("1}", 0, name="f")) == [("f", '{"a":1}')]


def test_arguments_that_are_an_object_are_written_out() -> None:
    assert made(piece({"a": 1}, id_="c0", name="f")) == [("f", '{"a":1}')]


@pytest.mark.parametrize(("finish", "right"), [("tool_calls", "{}"), ("length", "")])
def test_a_call_without_arguments_is_an_empty_object_unless_it_was_cut(finish: str, right: str) -> None:
    assert made(piece("", 0, "c0", "f"), finish=finish) == [("f", right)]


def test_a_function_call_of_old_is_a_tool_call() -> None:
    old = {"choices": [{"delta": {"function_call": {"name": "f", "arguments": "{}"}}}]}
    assert made(old, finish="function_call") == [("f", "{}")]


# -- text ------------------------------------------------------------------------------------------


def said(*sent: str) -> str:
    stream = ChatStream()
    events = [event for one in sent for event in stream.event(one)] + stream.end()
    return "".join(event.text for event in events if isinstance(event, Token))


def test_half_a_character_waits_for_its_other_half() -> None:
    halves = r'{"choices":[{"delta":{"content":"a\ud83d"}}]}', r'{"choices":[{"delta":{"content":"\ude00b"}}]}'
    assert said(*halves) == "a\U0001f600b"


@pytest.mark.parametrize("half", [r"\ud83d", r"\ude00"])
def test_half_a_character_alone_is_the_replacement_character(half: str) -> None:
    assert said(f'{{"choices":[{{"delta":{{"content":"a{half}"}}}}]}}') == "a\ufffd"


@pytest.mark.parametrize("name", REASONING)
def test_what_a_model_thinks_is_a_token_of_its_own_kind(name: str) -> None:
    stream = ChatStream()
    events = stream.feed({"choices": [{"delta": {name: "hm", "content": "42"}}]})
    assert [event for event in events if isinstance(event, Token)] == [Token("hm", kind="reasoning"), Token("42")]


def test_thoughts_in_parts_and_details_are_read_once() -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "42"}]
    details = [{"type": "reasoning.text", "text": "hm"}]
    for delta in ({"content": parts}, {"reasoning": "hm", "reasoning_details": details, "content": "42"}):
        tokens = [event for event in ChatStream().feed({"choices": [{"delta": delta}]}) if isinstance(event, Token)]
        assert tokens == [Token("hm", kind="reasoning"), Token("42")]


def test_a_whole_answer_at_the_end_of_a_stream_is_not_said_twice() -> None:
    message = '{"choices":[{"message":{"content":"ab"},"finish_reason":"stop"}]}'
    assert said('{"choices":[{"delta":{"content":"ab"}}]}', message) == "ab"
    assert said(message) == "ab"


def test_a_choice_that_nobody_asked_for_is_left_out() -> None:
    stream = ChatStream(1)
    texts = [stream.feed({"choices": [{"index": index, "delta": {"content": "a"}}]}) for index in (1, 0, 1)]
    assert [[token.choice for token in each if isinstance(token, Token)] for each in texts] == [[0], [], [0]]


def test_logprobs_of_another_shape_are_left_out() -> None:
    for logprobs in ({"tokens": ["a"], "token_logprobs": 3}, {"content": [{"token": 1}]}, {"content": "x"}, [1]):
        tokens = ChatStream().feed({"choices": [{"delta": {"content": "a"}, "logprobs": logprobs}]})
        assert tokens[-1] == Token("a")
