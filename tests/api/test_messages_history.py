"""What `/v1/messages` makes of blocks, tools and fields that its pools do not know, and of a turn to be continued."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest

from app.api.anthropic.names import Names, shortened
from app.core.ports import EngineError
from app.engines.resume import CANNOT_RESUME
from tests.kit import KEY, Kit, serving

PATH = "/v1/messages"
HI: dict[str, Any] = {"model": "small", "max_tokens": 50, "messages": [{"role": "user", "content": "Hello there"}]}
IMAGE = {"type": "image", "source": {"type": "url", "url": "https://x.org/a.png"}}
LONG = "mcp__" + "x" * 120
IGNORED = "x-penstock-ignored"


@pytest.fixture
def kit() -> Kit:
    return Kit(window=65_536)


@pytest.fixture
def url(kit: Kit) -> Iterator[str]:
    with serving(kit.gateway()) as base:
        yield base


def post(url: str, **body: Any) -> httpx.Response:
    return httpx.post(url + PATH, json=HI | body, headers={"x-api-key": KEY}, timeout=30)


def ok(answer: httpx.Response) -> httpx.Response:
    assert 200 == answer.status_code, answer.text
    return answer


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def own(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "input_schema": {"type": "object", "properties": {}}} for name in names]


def read(kit: Kit) -> list[tuple[str, str]]:
    """What the engine read last, by role."""
    return [(message.role, message.text) for message in kit.engines["a"].requests[-1].messages]


def functions(kit: Kit) -> dict[str, dict[str, Any]]:
    """The tools that the engine was given last, by name."""
    tools = kit.engines["a"].requests[-1].params.get("tools", ())
    return {tool["function"]["name"]: tool["function"] for tool in tools}


# -- blocks --------------------------------------------------------------------------------------


def result(**fields: Any) -> list[Any]:
    use = {"type": "tool_use", "id": "t1", "name": "read", "input": {}}
    return [user(text("read it")), assistant(use), user({"type": "tool_result", "tool_use_id": "t1", **fields})]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"content": "no such file", "is_error": True}, "The tool failed: no such file"),
        ({"content": None, "is_error": True}, "The tool failed."),
        ({"is_error": True, "content": [text("one")]}, "The tool failed: one"),
        ({"content": [IMAGE]}, "[an image that this model cannot see]"),
        ({"content": None}, ""),
        ({"content": []}, ""),
        ({"content": [{"type": "tool_reference", "tool_name": "grep"}]}, "[the tool `grep`]"),
        ({"content": [{"type": "browser_state", "tabs": []}]}, ""),
    ],
)
def test_a_tools_result_is_read_whatever_it_holds(kit: Kit, url: str, fields: dict[str, Any], told: str) -> None:
    ok(post(url, messages=result(**fields)))
    assert ("tool", told) == read(kit)[-1]


def test_a_document_and_a_search_result_are_told_with_their_titles(kit: Kit, url: str) -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "The gate opens at nine."}
    parts = {"type": "document", "source": {"type": "content", "content": [text("Chapter 1")]}}
    found = {"type": "search_result", "source": "https://x.org", "title": "Hours", "content": [text("Nine.")]}
    document = {"type": "document", "source": source, "title": "Gates", "context": "From the office"}
    ok(post(url, messages=[user(document, parts, found, text("When?"))]))
    ((_, said),) = read(kit)
    for word in ("Gates", "From the office", "opens at nine", "Chapter 1", "https://x.org", "Hours", "Nine.", "When?"):
        assert word in said


def test_what_no_pool_can_use_of_an_old_turn_is_left_out_and_named(kit: Kit, url: str) -> None:
    thinking = {"type": "thinking", "thinking": "a secret thought", "signature": "x"}
    search = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "secret"}}
    found = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}
    old = assistant(thinking, {"type": "redacted_thinking", "data": "secret"}, search, found, text("None."))
    answer = ok(post(url, messages=[user(text("news?"), IMAGE), old, user(text("thanks"))]))
    assert ("assistant", "None.") == read(kit)[1]
    assert "[an image that this model cannot see]" in read(kit)[0][1]
    assert "secret" not in json.dumps(read(kit))
    kinds = ("image", "thinking", "redacted_thinking", "server_tool_use", "web_search_tool_result")
    assert ",".join(f"messages.content.{kind}" for kind in kinds) == answer.headers[IGNORED]


def test_a_compactions_summary_is_what_the_model_reads(kit: Kit, url: str) -> None:
    ok(
        post(
            url, messages=[user(text("a")), assistant({"type": "compaction", "content": "So far: a."}), user(text("b"))]
        )
    )
    assert [("user", "a"), ("assistant", "So far: a."), ("user", "b")] == read(kit)


def test_a_result_of_a_call_that_is_no_longer_there_is_told_as_the_users_words(kit: Kit, url: str) -> None:
    orphan = {"type": "tool_result", "tool_use_id": "gone", "content": "rain"}
    ok(post(url, messages=[user(orphan), assistant(text("It rains.")), user(text("So?"))]))
    assert "user" == read(kit)[0][0]
    assert "rain" in read(kit)[0][1]


def test_a_turn_of_nothing_that_can_be_read_still_stands(kit: Kit, url: str) -> None:
    ok(post(url, messages=[user({"type": "container_upload", "file_id": "f"})]))
    assert [("user", "[content that this model cannot read]")] == read(kit)


def test_system_blocks_and_system_turns_become_one_system_turn_and_parts_of_the_users(kit: Kit, url: str) -> None:
    turns = [user(text("hi")), assistant(text("yes?")), {"role": "system", "content": "5000 left"}, user(text("go on"))]
    ok(post(url, system=[text("You are an agent."), {"type": "new", "x": 1}], messages=turns))
    assert [
        ("system", "You are an agent."),
        ("user", "hi"),
        ("assistant", "yes?"),
        ("user", "<system>\n5000 left\n</system>\ngo on"),
    ] == read(kit)


# -- fields --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["enabled", "adaptive", "disabled", "something new"])
def test_thinking_is_a_wish_that_a_model_may_leave_unheard(url: str, kind: str) -> None:
    answer = ok(post(url, max_tokens=2000, thinking={"type": kind, "budget_tokens": 1024}))
    assert ("thinking" if kind != "disabled" else None) == answer.headers.get(IGNORED)


def test_unknown_fields_are_named_and_change_nothing(kit: Kit, url: str) -> None:
    fields: dict[str, Any] = {
        "context_management": {"edits": []},
        "container": "c1",
        "mcp_servers": [{"name": "x"}],
        "inference_geo": "eu",
        "service_tier": "auto",
        "output_config": {"effort": "high"},
        "betas": None,
        "odd name, é": 1,
    }
    answer = ok(post(url, **fields))
    assert {
        "context_management", "container", "mcp_servers", "inference_geo", "service_tier", "output_config.effort",
        "odd_name___",
    } == set(answer.headers[IGNORED].split(","))  # fmt: skip
    assert {"max_tokens": 50} == kit.engines["a"].requests[0].params


def test_the_header_of_a_request_with_thousands_of_unknown_fields_stays_short(url: str) -> None:
    answer = ok(post(url, **{f"field_{at}": 1 for at in range(5000)}))
    assert len(answer.headers[IGNORED]) < 4_000
    assert answer.headers[IGNORED].endswith(",...")


@pytest.mark.parametrize("stream", [False, True])
def test_the_header_stands_on_streams_and_counts_too(url: str, stream: bool) -> None:
    assert "container" == ok(post(url, stream=stream, container="c")).headers[IGNORED]
    body = {"model": "small", "messages": HI["messages"], "container": "c"}
    counted = httpx.post(f"{url}{PATH}/count_tokens", json=body, headers={"x-api-key": KEY})
    assert "container" == ok(counted).headers[IGNORED]


@pytest.mark.parametrize("field", ["output_format", "output_config"])
def test_a_schema_is_followed_under_both_of_its_names(kit: Kit, url: str, field: str) -> None:
    wanted = {"type": "json_schema", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}}
    ok(post(url, **{field: wanted if field == "output_format" else {"format": wanted}}))
    sent = kit.engines["a"].requests[0].params["response_format"]
    assert wanted["schema"] == sent["json_schema"]["schema"]


# -- tools ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "name", "fields"),
    [
        ({"type": "bash_20250124", "name": "bash"}, "bash", {"command", "restart"}),
        (
            {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 9},
            "str_replace_based_edit_tool",
            {"command", "path", "file_text", "old_str", "new_str", "insert_text", "insert_line", "view_range"},
        ),
        (
            {"type": "text_editor_20241022"},
            "str_replace_editor",
            {"command", "path", "file_text", "old_str", "new_str", "insert_line", "view_range"},
        ),
        (
            {"type": "memory_20250818", "name": "memory"},
            "memory",
            {
                *("command", "path", "file_text", "old_str", "new_str", "insert_text", "insert_line", "view_range"),
                *("old_path", "new_path"),
            },
        ),
        ({"type": "computer_20241022", "name": "computer"}, "computer", {"action", "coordinate", "text"}),
        (
            {"type": "computer_20251124", "name": "computer", "display_width_px": 1024, "display_height_px": 768},
            "computer",
            {
                *("action", "coordinate", "text", "start_coordinate", "scroll_direction", "scroll_amount", "duration"),
                "region",
            },
        ),
    ],
)
def test_a_tool_that_the_client_runs_is_a_function_of_its_published_schema(
    kit: Kit, url: str, tool: dict[str, Any], name: str, fields: set[str]
) -> None:
    answer = ok(post(url, tools=[tool], tool_choice={"type": "tool", "name": name}))
    function = functions(kit)[name]
    assert fields == set(function["parameters"]["properties"])
    assert function["description"]
    assert IGNORED not in answer.headers


def test_the_newest_text_editor_has_no_undo_and_the_oldest_has(kit: Kit, url: str) -> None:
    ok(post(url, tools=[{"type": f"text_editor_{date}"} for date in ("20250124", "20250728")]))
    commands = [one["parameters"]["properties"]["command"]["enum"] for one in functions(kit).values()]
    assert [True, False] == ["undo_edit" in one for one in commands]


@pytest.mark.parametrize("choice", [None, {"type": "auto"}, {"type": "none"}, {"type": "any"}])
def test_hosted_tools_are_left_out_and_named(kit: Kit, url: str, choice: Any) -> None:
    kinds = (
        "web_search_20250305",
        "code_execution_20250825",
        "tool_search_tool_regex_20251119",
        "mcp_toolset",
        "new_1",
    )
    hosted = [{"type": kind, "name": kind[:10]} for kind in kinds]
    answer = ok(post(url, tools=[*hosted, *own("mine")], **({"tool_choice": choice} if choice else {})))
    assert {"mine"} == set(functions(kit))
    assert [f"tools.{kind}" for kind in kinds] == answer.headers[IGNORED].split(",")


def test_a_tool_of_a_later_type_that_brings_its_schema_is_a_function(kit: Kit, url: str) -> None:
    ok(post(url, tools=[{"type": "something_2030", **own("mine")[0]}]))
    assert {"mine"} == set(functions(kit))


def test_a_tool_that_is_not_strict_is_as_every_other(kit: Kit, url: str) -> None:
    ok(post(url, tools=[{**own("mine")[0], "strict": False}]))
    assert "strict" not in functions(kit)["mine"]


def test_a_thousand_tools_are_taken(kit: Kit, url: str) -> None:
    ok(post(url, tools=own(*[f"t{at}" for at in range(1000)])))
    assert 1000 == len(functions(kit))


@pytest.mark.parametrize("stream", [False, True])
def test_a_long_name_is_short_for_the_engine_and_whole_for_the_caller(kit: Kit, url: str, stream: bool) -> None:
    short = shortened(LONG)
    kit.engines["a"].tools = [(short, "{}")]
    use = {"type": "tool_use", "id": "t1", "name": LONG, "input": {}}
    turns = [user(text("go")), assistant(use), user({"type": "tool_result", "tool_use_id": "t1", "content": "done"})]
    answer = ok(post(url, messages=turns, tools=own(LONG), tool_choice={"type": "tool", "name": LONG}, stream=stream))
    request = kit.engines["a"].requests[0]
    assert {short} == set(functions(kit))
    assert short == request.params["tool_choice"]["function"]["name"]
    assert short == request.messages[1].extra["tool_calls"][0]["function"]["name"]
    assert LONG in answer.text
    assert short not in answer.text


def test_two_long_names_stay_two_and_short_ones_stay_as_they_are() -> None:
    names = Names()
    longs = [f"{'x' * 100}{at}" for at in range(50)]
    sent = [names.sent(name) for name in (*longs, "plain")]
    assert 51 == len(set(sent))
    assert all(len(name) <= 64 for name in sent)
    assert [*longs, "plain"] == [names.told(name) for name in sent]


# -- the answer goes on --------------------------------------------------------------------------


def test_an_answer_goes_on_with_what_the_last_turn_began_and_does_not_repeat_it(kit: Kit, url: str) -> None:
    kit.engines["a"].answer = "1, 2, 3, 4, 5"
    turns = [user(text("Count to five.")), assistant(text("1, 2,"))]
    answer = ok(post(url, messages=turns))
    assert kit.engines["a"].requests[0].resume
    assert "3, 4, 5" == answer.json()["content"][0]["text"].strip()


def test_an_answer_that_goes_on_is_never_served_from_the_cache(kit: Kit, url: str) -> None:
    kit.engines["a"].answer = "1, 2, 3"
    for _ in range(2):
        ok(post(url, temperature=0, messages=[user(text("Count to three.")), assistant(text("1,"))]))
    assert 2 == len(kit.engines["a"].requests)


def test_a_pool_that_cannot_go_on_is_passed_over_and_none_is_said_in_a_sentence(kit: Kit, url: str) -> None:
    for engine in kit.engines.values():
        engine.error, engine.fail = EngineError("no", retryable=True, code=CANNOT_RESUME), "before_first"
    answer = post(url, messages=[user(text("Count.")), assistant(text("1,"))])
    assert (400, "invalid_request_error") == (answer.status_code, answer.json()["error"]["type"])
    assert "End with a user's message." in answer.json()["error"]["message"]


def test_a_pool_that_cannot_go_on_is_no_worse_for_others(kit: Kit) -> None:
    engine = kit.engines["a"]
    engine.error, engine.fail = EngineError("no", retryable=True, code=CANNOT_RESUME), "before_first"
    gateway = kit.gateway()
    with serving(gateway) as url:
        post(url, messages=[user(text("Count.")), assistant(text("1,"))])
    assert gateway.health.well("a")


def test_a_last_turn_of_thinking_alone_asks_for_nothing_to_go_on_with(kit: Kit, url: str) -> None:
    ok(post(url, messages=[user(text("hi")), assistant({"type": "thinking", "thinking": "hm", "signature": ""})]))
    assert not kit.engines["a"].requests[0].resume


def test_the_official_client_replays_an_answer_with_blocks_of_its_own(kit: Kit, url: str) -> None:
    client = anthropic.Anthropic(api_key=KEY, base_url=url, max_retries=0)
    first = client.messages.create(**HI)
    turns: Any = [*HI["messages"], {"role": "assistant", "content": first.content}, {"role": "user", "content": "More"}]
    client.messages.create(**HI | {"messages": turns})
    assert ["user", "assistant", "user"] == [role for role, _ in read(kit)]


def test_a_text_block_of_an_answer_has_no_citations_where_there_are_none(url: str) -> None:
    assert {"type", "text"} == set(ok(post(url)).json()["content"][0])
