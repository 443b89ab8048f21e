"""Items and tools of the Responses API: used, mapped to what an engine knows and back, or left out by name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.api.ignored import HEADER
from app.api.openai.responses.custom_input import CustomInput
from app.api.openai.responses.tools import flat
from app.api.stored.responses import Responses
from app.core.events import Message
from app.db.store import Store
from app.installation.secrets import Secrets
from app.tenancy.admin import AdminService
from app.testing.fakes import FakeAuthenticator, FakeEngine
from tests.kit import KEY, WHO, Kit, serving

SECRETS = Secrets("the secret of an installation for tests")
PATH = "/v1/responses"
GO: dict[str, Any] = {"role": "user", "content": "Go on"}
WEATHER: dict[str, Any] = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
PATCH: dict[str, Any] = {"type": "custom", "name": "apply_patch", "description": "Edits files."}
SPACE: dict[str, Any] = {"type": "namespace", "name": "mcp__git__", "description": "Git", "tools": [WEATHER, PATCH]}
HOSTED = [
    "web_search",
    "file_search",
    "code_interpreter",
    "image_generation",
    "mcp",
    "computer_use",
    "tool_search",
    "x1",
]


@pytest.fixture
def kit() -> Kit:
    keys = {KEY: WHO, "sk-other": replace(WHO, tenant="other", key_id="key_2")}
    keys |= {f"sk-{name}": replace(WHO, project=f"proj_{name}", key_id=f"key_{name}") for name in ("north", "south")}
    return Kit(authenticator=FakeAuthenticator(keys))


@pytest.fixture
def url(kit: Kit, tmp_path: Path) -> Iterator[str]:
    opened = Store(f"sqlite:///{tmp_path}/ledger.db")

    async def tenants() -> None:
        for tenant in ("acme", "other"):
            await AdminService(opened, SECRETS).create_tenant(tenant, actor="test")

    asyncio.run(tenants())
    stages = [stage for stage in kit.gateway().policy.stages if stage not in ("recall", "remember")]
    with serving(kit.gateway(stages=stages), kit.metrics, responses=Responses(opened, SECRETS)) as base:
        yield base
    asyncio.run(opened.close())


def post(url: str, *, key: str = KEY, path: str = "", **body: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.post(url + PATH + path, json={"model": "small", "input": [GO]} | body, headers=headers, timeout=30)


def good(answer: httpx.Response) -> dict[str, Any]:
    assert 200 == answer.status_code, answer.text
    found: dict[str, Any] = answer.json()
    return found


def events(answer: httpx.Response) -> list[tuple[str, dict[str, Any]]]:
    assert 200 == answer.status_code, answer.text
    blocks = [block.split("\n") for block in answer.text.split("\n\n") if block and not block.startswith(":")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


def seen(kit: Kit) -> list[Message]:
    return list(kit.engines["a"].requests[-1].messages)


def offered(kit: Kit) -> list[str]:
    return [tool["function"]["name"] for tool in kit.engines["a"].requests[-1].params.get("tools", ())]


# -- items of a history -----------------------------------------------------------------------------

LOST: list[dict[str, Any]] = [
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
    {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["q"], "results": None},
    {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "aGk="},
    {"type": "computer_call", "id": "cu_1", "call_id": "c", "status": "completed", "action": {"type": "click"}},
    {"type": "code_interpreter_call", "id": "ci_1", "container_id": "c", "code": "1", "outputs": None},
    {"type": "local_shell_call", "id": "ls_1", "call_id": "c", "action": {"type": "exec", "command": ["ls"]}},
    {"type": "mcp_list_tools", "id": "m_1", "server_label": "x", "tools": []},
    {"type": "mcp_approval_request", "id": "m_2", "server_label": "x", "name": "n", "arguments": "{}"},
    {"type": "mcp_approval_response", "approval_request_id": "m_2", "approve": True},
    {"type": "tool_search_call", "arguments": {"q": 1}},
    {"type": "additional_tools", "role": "developer", "tools": []},
    {"type": "configuration_update", "reasoning": {"effort": "low"}},
    {"type": "program", "id": "p_1", "call_id": "c", "code": "x", "fingerprint": "f"},
    {"type": "program_output", "id": "p_2", "call_id": "c", "result": "x", "status": "completed"},
    {"type": "item_reference", "id": "rs_68af"},
    {"type": "something_of_next_year", "payload": [{"deep": ["x"]}]},
]


@pytest.mark.parametrize("item", LOST, ids=lambda item: item["type"])
def test_an_item_that_no_pool_can_use_is_left_out_and_named(kit: Kit, url: str, item: dict[str, Any]) -> None:
    answer = post(url, input=[{"role": "user", "content": "Hi"}, item, {"role": "assistant", "content": "Ho"}, GO])
    good(answer)
    expected = "reasoning" if item["type"] == "item_reference" else item["type"]
    assert f"input.{expected}" == answer.headers[HEADER]
    assert ["Hi", "Ho", "Go on"] == [message.text for message in seen(kit)]


CALLS: list[tuple[list[dict[str, Any]], str, Any, str]] = [
    (
        [
            {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": 'a "b"'},
            {"type": "custom_tool_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "done"}]},
        ],
        "patch", {"input": 'a "b"'}, "done",
    ),
    (
        [
            {"type": "function_call", "call_id": "c", "name": "log", "namespace": "mcp__git__", "arguments": "[1]"},
            {"type": "function_call_output", "call_id": "c", "output": "done"},
        ],
        "mcp__git__log", [1], "done",
    ),
    (
        [
            {
                "type": "local_shell_call", "id": "ls_1", "call_id": "c", "status": "completed",
                "action": {"type": "exec", "command": ["ls"], "env": {}},
            },
            {"type": "local_shell_call_output", "id": "c", "output": '{"output": "a.py"}'},
        ],
        "local_shell", {"type": "exec", "command": ["ls"], "env": {}}, '{"output": "a.py"}',
    ),
    (
        [
            {"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}, "status": "completed"},
            {
                "type": "shell_call_output", "call_id": "c",
                "output": [{"stdout": "a.py", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
            },
        ],
        "shell", {"commands": ["ls"]},
        '[{"stdout":"a.py","stderr":"","outcome":{"type":"exit","exit_code":0}}]',
    ),
    (
        [
            {
                "type": "apply_patch_call", "call_id": "c", "status": "completed",
                "operation": {"type": "delete_file", "path": "a.py"},
            },
            {"type": "apply_patch_call_output", "call_id": "c", "status": "failed"},
        ],
        "apply_patch", {"operation": {"type": "delete_file", "path": "a.py"}}, "{}",
    ),
    (
        [
            {"type": "computer_call", "id": "cu", "call_id": "c", "action": {"type": "click", "x": 1}},
            {
                "type": "computer_call_output", "call_id": "c",
                "output": {"type": "computer_screenshot", "image_url": "data:image/png;base64,aGk="},
            },
        ],
        "computer", {"type": "click", "x": 1}, "[a screenshot that this model cannot see]",
    ),
    (
        [{"type": "mcp_call", "id": "m_1", "name": "find", "server_label": "s", "arguments": "[1]", "output": "x"}],
        "s__find", [1], "x",
    ),
    (
        [{"type": "code_interpreter_call", "id": "ci", "code": "1+1", "outputs": [{"type": "logs", "logs": "2"}]}],
        "code_interpreter", {"code": "1+1"}, "2",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("items", "name", "arguments", "output"), CALLS, ids=lambda value: str(value)[:30])
def test_a_call_with_its_output_is_a_tool_call_and_a_tools_turn(
    kit: Kit, url: str, items: list[dict[str, Any]], name: str, arguments: Any, output: str
) -> None:
    good(post(url, input=[{"role": "user", "content": "Hi"}, *items, {"role": "assistant", "content": "Ho"}, GO]))
    _, called, told, *_ = seen(kit)
    (call,) = called.extra["tool_calls"]
    assert (name, arguments) == (call["function"]["name"], json.loads(call["function"]["arguments"]))
    assert ("tool", output, call["id"]) == (told.role, told.text, told.extra["tool_call_id"])


def test_a_call_that_nobody_answered_is_answered_with_a_line(kit: Kit, url: str) -> None:
    call = {"type": "function_call", "call_id": "c", "name": "log", "arguments": "{}"}
    good(post(url, input=[call, GO]))
    assert ["assistant", "tool", "user"] == [message.role for message in seen(kit)]
    assert "no output" in seen(kit)[1].text


def test_an_output_whose_call_was_cut_off_with_the_beginning_is_told_by_the_user(kit: Kit, url: str) -> None:
    output = {"type": "function_call_output", "call_id": "c", "output": "rain"}
    good(post(url, input=[output, {"role": "assistant", "content": "It rains"}, GO]))
    assert ("user", True) == (seen(kit)[0].role, seen(kit)[0].text.endswith("rain"))


PARTS: list[tuple[dict[str, Any], str]] = [
    ({"type": "input_image", "image_url": "data:image/png;base64,aGk="}, "[an image that this model cannot see]"),
    ({"type": "input_file", "file_id": "file-1"}, "[a file that this model cannot read]"),
    ({"type": "input_audio", "input_audio": {"data": "aGk="}}, "[a recording that this model cannot hear]"),
    ({"type": "hologram", "shape": [1]}, "[content that this model cannot read]"),
]


@pytest.mark.parametrize(("part", "line"), PARTS, ids=lambda value: str(value)[:24])
def test_a_part_that_no_pool_can_read_is_a_line_in_an_old_turn_and_refused_in_the_newest(
    kit: Kit, url: str, part: dict[str, Any], line: str
) -> None:
    said = {"role": "user", "content": [{"type": "input_text", "text": "Look: "}, part]}
    answer = post(url, input=[said, {"role": "assistant", "content": "Nice"}, GO])
    good(answer)
    assert (f"Look: \n{line}", f"input.content.{part['type']}") == (seen(kit)[0].text, answer.headers[HEADER])
    call = {"type": "function_call", "call_id": "c", "name": "view", "arguments": "{}"}
    good(post(url, input=[GO, call, {"type": "function_call_output", "call_id": "c", "output": [part]}]))
    assert line == seen(kit)[-1].text
    refused = post(url, input=[{"role": "assistant", "content": "Hi"}, said, GO])
    assert (400, "input[1].content") == (refused.status_code, refused.json()["error"]["param"])
    assert part["type"] in refused.json()["error"]["message"]


def test_a_text_file_within_the_request_is_read(kit: Kit, url: str) -> None:
    part = {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,aGVsbG8="}
    good(post(url, input=[{"role": "user", "content": [part]}]))
    assert "hello" == seen(kit)[0].text


def test_a_refusal_and_reasoning_texts_of_old_turns_are_read(kit: Kit, url: str) -> None:
    parts = [{"type": "refusal", "refusal": "No. "}, {"type": "output_text", "text": "Yes."}]
    good(post(url, input=[GO, {"type": "message", "role": "assistant", "content": parts}, GO]))
    assert "No. \nYes." == seen(kit)[1].text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KINDS = sorted({item["type"] for item in LOST} | {item["type"] for items, *_ in CALLS for item in items})
ANYTHING = st.builds(
    lambda kind, fields: {**fields, "type": kind},
    st.sampled_from(["new", "new_call", "new_call_output", *KINDS]),
    st.dictionaries(st.sampled_from(["id", "call_id", "output", "action", "results", "arguments", "name", "x"]), JSON),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(ANYTHING, max_size=4))
def test_no_item_of_an_old_turn_breaks_the_server(url: str, items: list[dict[str, Any]]) -> None:
    answer = post(url, input=[*items, {"role": "assistant", "content": "Ho"}, GO])
    assert answer.status_code in (200, 400), answer.text
    if not any(item["type"].startswith(("function", "custom", "item_ref")) for item in items):
        good(answer)


# -- references -------------------------------------------------------------------------------------


def test_a_reference_is_the_stored_item_of_whichever_response(kit: Kit, url: str) -> None:
    first = good(post(url, input=[{"role": "user", "content": "One"}]))
    second = good(post(url, input=[{"role": "user", "content": "Two"}]))
    asked = httpx.get(f"{url}{PATH}/{second['id']}/input_items", headers={"Authorization": f"Bearer {KEY}"}).json()
    references = [{"id": first["output"][0]["id"]}, {"type": "item_reference", "id": asked["data"][0]["id"]}]
    third = good(post(url, input=[*references, GO]))
    assert ["You said: One", "Two", "Go on"] == [message.text for message in seen(kit)]
    good(post(url, input=[{"type": "item_reference", "id": third["output"][0]["id"]}, references[0], GO]))
    assert ["You said: Go on", "You said: One", "Go on"] == [message.text for message in seen(kit)]


@pytest.mark.parametrize("key", ["sk-other", "sk-north"])
def test_a_reference_to_what_is_gone_or_anothers_is_refused_by_its_id(url: str, key: str) -> None:
    made = good(post(url))
    item = {"type": "item_reference", "id": made["output"][0]["id"]}
    httpx.delete(f"{url}{PATH}/{made['id']}", headers={"Authorization": f"Bearer {KEY}"})
    for answer in (post(url, key=key, input=[item, GO]), post(url, input=[item, GO])):
        assert (400, "input[0].id") == (answer.status_code, answer.json()["error"]["param"])
        assert item["id"] in answer.json()["error"]["message"]


# -- tools ------------------------------------------------------------------------------------------


def test_a_custom_tool_is_a_function_of_one_text_and_its_call_a_custom_call(kit: Kit, url: str) -> None:
    kit.engines["a"].tools = [("apply_patch", json.dumps({"input": 'say "hi"\nto all'}))]
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: WORD"}
    answer = good(
        post(url, tools=[{**PATCH, "format": grammar}], tool_choice={"type": "custom", "name": "apply_patch"})
    )
    (item,) = answer["output"]
    assert ("custom_tool_call", "apply_patch", 'say "hi"\nto all') == (item["type"], item["name"], item["input"])
    params = kit.engines["a"].requests[-1].params
    function = params["tools"][0]["function"]
    assert ["input"] == function["parameters"]["required"]
    assert all(word in function["description"] for word in ("Edits files.", "lark", "start: WORD"))
    assert {"type": "function", "function": {"name": "apply_patch"}} == params["tool_choice"]
    assert {"type": "custom", "name": "apply_patch"} == answer["tool_choice"]
    output = {"type": "custom_tool_call_output", "call_id": item["call_id"], "output": "ok"}
    good(post(url, input=[output], previous_response_id=answer["id"], tools=[PATCH]))
    assert ["user", "assistant", "tool"] == [message.role for message in seen(kit)]


def test_a_custom_call_streams_its_text_in_openais_order(kit: Kit, url: str) -> None:
    text = "*** Begin Patch\n" + 'a "quoted" line\n' * 20
    kit.engines["a"].tools = [("apply_patch", json.dumps({"input": text}))]
    told = events(post(url, tools=[PATCH], stream=True))
    names = list(dict.fromkeys(name for name, _ in told))
    assert [
        "response.created", "response.in_progress", "response.output_item.added",
        "response.custom_tool_call_input.delta", "response.custom_tool_call_input.done",
        "response.output_item.done", "response.completed",
    ] == names  # fmt: skip
    deltas = [data["delta"] for name, data in told if name.endswith("input.delta")]
    assert len(deltas) > 3
    done = next(data for name, data in told if name.endswith("input.done"))
    assert text == "".join(deltas) == done["input"] == told[-1][1]["response"]["output"][0]["input"]


@settings(deadline=None)
@given(text=st.text(), size=st.integers(1, 9), escaped=st.booleans())
def test_a_custom_tools_input_is_the_text_however_its_json_is_cut(text: str, size: int, *, escaped: bool) -> None:
    written = json.dumps({"input": text}, ensure_ascii=escaped)
    reader = CustomInput()
    said = "".join(reader.feed(written[at : at + size]) for at in range(0, len(written), size)) + reader.end()
    assert text == said == reader.text


@settings(deadline=None)
@given(written=st.text(), size=st.integers(1, 9))
def test_what_is_no_such_json_is_the_input_as_it_stands(written: str, size: int) -> None:
    reader = CustomInput()
    said = "".join(reader.feed(written[at : at + size]) for at in range(0, len(written), size)) + reader.end()
    assert reader.text == said
    if not written.strip().startswith(("{", '"')):
        assert written == said


def test_tools_of_a_namespace_stand_beside_the_others_and_come_back_within_it(kit: Kit, url: str) -> None:
    kit.engines["a"].tools = [
        ("mcp__git__weather", "{}"),
        ("weather", "{}"),
        ("mcp__git__apply_patch", '{"input":"x"}'),
    ]
    answer = good(post(url, tools=[WEATHER, SPACE]))
    assert ["weather", "mcp__git__weather", "mcp__git__apply_patch"] == offered(kit)
    assert [("weather", "mcp__git__"), ("weather", None), ("apply_patch", "mcp__git__")] == [
        (item["name"], item.get("namespace")) for item in answer["output"]
    ]
    good(post(url, input=[{"role": "user", "content": "Hi"}, *answer["output"], GO], tools=[WEATHER, SPACE]))
    calls = [call["function"]["name"] for call in seen(kit)[1].extra["tool_calls"]]
    assert ["mcp__git__weather", "weather", "mcp__git__apply_patch"] == calls


@pytest.mark.parametrize("name", ["mcp.git/log", "x" * 128, "a b", "wétter"])
def test_a_name_that_engines_do_not_take_is_mapped_and_back(kit: Kit, url: str, name: str) -> None:
    kit.engines["a"].tools = [(flat(name), "{}")]
    answer = good(post(url, tools=[{**WEATHER, "name": name}], tool_choice={"type": "function", "name": name}))
    assert name == answer["output"][0]["name"]
    assert [flat(name)] == offered(kit)
    assert len(flat(name)) <= 64


def test_hosted_tools_are_left_out_and_named_beside_functions_that_are_not(kit: Kit, url: str) -> None:
    tools = [{"type": kind, "any": {"thing": [1]}} for kind in HOSTED]
    answer = post(url, tools=[*tools, WEATHER], tool_choice="required")
    assert tools == good(answer)["tools"][:-1]
    assert ["weather"] == offered(kit)
    assert ",".join(f"tools.{kind}" for kind in HOSTED) == answer.headers[HEADER]
    for choice in (None, "auto", "none"):
        good(post(url, tools=tools, tool_choice=choice))
        assert not {"tools", "tool_choice"} & set(kit.engines["a"].requests[-1].params)


@pytest.mark.parametrize("kind", HOSTED)
def test_a_hosted_tool_that_is_demanded_is_refused_by_name(url: str, kind: str) -> None:
    for choice in ("required", {"type": kind, "server_label": "s"}):
        answer = post(url, tools=[{"type": kind}], tool_choice=choice)
        assert (400, "tool_choice") == (answer.status_code, answer.json()["error"]["param"])
        assert kind in answer.json()["error"]["message"]


def test_only_allowed_tools_are_offered_in_their_mode(kit: Kit, url: str) -> None:
    names = ["weather", "time"]
    tools = [{**WEATHER, "name": name} for name in names]
    for mode, allowed in (("auto", ["time"]), ("required", ["weather"]), ("auto", [])):
        said = [{"type": "function", "name": name} for name in allowed] + [{"type": "web_search"}]
        good(post(url, tools=tools, tool_choice={"type": "allowed_tools", "mode": mode, "tools": said}))
        assert allowed == offered(kit)
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "none"}]}
    assert 400 == post(url, tools=tools, tool_choice=choice).status_code


RUN: list[tuple[dict[str, Any], Any, dict[str, Any]]] = [
    ({"type": "local_shell"}, {"command": ["ls"]}, {"action": {"type": "exec", "command": ["ls"], "env": {}}}),
    (
        {"type": "shell", "environment": {"type": "local"}}, {"commands": ["ls"], "timeout_ms": 5},
        {"action": {"commands": ["ls"], "timeout_ms": 5, "max_output_length": None}},
    ),
    (
        {"type": "apply_patch"}, {"operation": {"type": "create_file", "path": "a", "diff": "+x"}},
        {"operation": {"type": "create_file", "path": "a", "diff": "+x"}},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("tool", "arguments", "held"), RUN, ids=lambda value: str(value)[:24])
def test_a_tool_that_the_client_runs_is_called_by_an_item_of_its_own(
    kit: Kit, url: str, tool: dict[str, Any], arguments: Any, held: dict[str, Any]
) -> None:
    kind = tool["type"]
    kit.engines["a"].tools = [(kind, json.dumps(arguments))]
    told = events(post(url, tools=[tool], tool_choice={"type": kind}, stream=True))
    names = [name for name, _ in told]
    assert ["response.output_item.added", "response.output_item.done"] == names[2:4]
    (item,) = told[-1][1]["response"]["output"]
    assert (f"{kind}_call", "completed", held) == (item["type"], item["status"], {k: item[k] for k in held})
    kit.engines["a"].tools = [(kind, "nonsense")]
    (item,) = good(post(url, tools=[tool]))["output"]
    assert ("function_call", "nonsense") == (item["type"], item["arguments"])


def test_a_shell_in_another_providers_container_is_left_out(kit: Kit, url: str) -> None:
    answer = post(url, tools=[{"type": "shell", "environment": {"type": "container_auto"}}])
    good(answer)
    assert (HEADER, "tools.shell") in answer.headers.items()


def test_the_official_client_reads_custom_calls(kit: Kit, url: str) -> None:
    kit.engines["a"].tools = [("apply_patch", '{"input": "x"}')]
    client = openai.OpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0)
    tool: Any = PATCH
    with client.responses.stream(model="small", input="Hi", tools=[tool]) as stream:
        (item,) = stream.get_final_response().output
    assert item.type == "custom_tool_call"
    assert ("apply_patch", "x") == (item.name, item.input)


ACCEPTED: list[dict[str, Any]] = [
    {"tools": []},
    {"tools": [], "tool_choice": "auto"},
    {"tools": [{**WEATHER, "strict": False}]},
    {"include": ["file_search_call.results", "reasoning.encrypted_content", "something.new"]},
    {"truncation": "auto"},
    {"reasoning": {"effort": "max", "summary": "auto"}},
    {"text": {"verbosity": "low"}},
    {"prompt_cache_key": "k", "client_metadata": {"a": "b"}, "prompt_cache_options": {"ttl": "30m"}, "new_field": [1]},
    {"service_tier": "fast"},
    {"stream_options": {"include_obfuscation": False}},
    {"conversation": None, "background": False, "prompt": None},
    {"input": [{"role": "user", "content": "Hi", "phase": "final_answer", "status": None}]},
    {"input": [{"id": None, "type": "message", "role": "assistant", "content": None}, GO]},
]


@pytest.mark.parametrize("body", ACCEPTED, ids=str)
def test_what_clients_send_along_is_accepted(url: str, body: dict[str, Any]) -> None:
    answer = post(url, **body)
    good(answer)
    assert HEADER not in answer.headers


# -- compaction -------------------------------------------------------------------------------------

LONG = [{"role": "user", "content": "The file is a.py."}, {"role": "assistant", "content": "Fine."}]


def compacted(url: str, key: str = KEY) -> dict[str, Any]:
    body = good(post(url, key=key, path="/compact", input=LONG))
    assert ("response.compaction", ["compaction"]) == (body["object"], [item["type"] for item in body["output"]])
    item: dict[str, Any] = body["output"][0]
    return item


def test_a_conversation_is_summed_up_sealed_billed_and_opened_again(kit: Kit, url: str) -> None:
    kit.engines["a"].answer = "They call it a.py, says Ada Lovelace."
    item = compacted(url)
    assert ["The file is a.py.", "Fine."] == [message.text for message in seen(kit)[:2]]
    assert "summary" in seen(kit)[-1].text
    assert ["ok"] == [row.outcome for row in kit.rows]
    assert "a.py" not in json.dumps(item)
    good(post(url, input=[item, GO]))
    summary, asked = seen(kit)
    assert ("user", True, "Go on") == (summary.role, "They call it a.py, says <PERSON_1>" in summary.text, asked.text)


@pytest.mark.parametrize("stream", [False, True])
def test_a_trigger_is_answered_by_one_compaction_which_the_next_request_goes_on_from(
    kit: Kit, url: str, *, stream: bool
) -> None:
    kit.engines["a"].answer = "It is a.py."
    answer = post(url, input=[*LONG, {"type": "compaction_trigger"}], tools=[WEATHER], stream=stream)
    if stream:
        told = events(answer)
        assert ["response.output_item.added", "response.output_item.done", "response.completed"] == [
            name for name, _ in told[2:]
        ]
        whole = told[-1][1]["response"]
    else:
        whole = good(answer)
    assert ["compaction"] == [item["type"] for item in whole["output"]]
    assert "tools" not in kit.engines["a"].requests[-1].params
    good(post(url, previous_response_id=whole["id"]))
    assert 2 == len(seen(kit))
    assert "It is a.py." in seen(kit)[0].text


def test_anothers_compaction_or_a_changed_one_is_refused(url: str) -> None:
    item = compacted(url, "sk-north")
    changed = {**item, "encrypted_content": item["encrypted_content"][:-4] + "AAAA"}
    for key, sent in (("sk-other", item), ("sk-south", item), (KEY, item), ("sk-north", changed)):
        answer = post(url, key=key, input=[sent, GO])
        assert (400, "input[0].encrypted_content") == (answer.status_code, answer.json()["error"]["param"])
    good(post(url, key="sk-north", input=[item, GO]))


def test_a_summary_of_nothing_or_one_that_was_stopped_is_an_error_and_no_item(kit: Kit, url: str) -> None:
    kit.engines["a"] = FakeEngine("")
    with serving(kit.gateway()) as bare:
        assert (503, "no_summary") == (
            (empty := post(bare, path="/compact")).status_code,
            empty.json()["error"]["code"],
        )
        assert "response.failed" == events(post(bare, input=[GO, {"type": "compaction_trigger"}], stream=True))[-1][0]
    kit.engines["a"].answer = "fine at first and for a good while, you idiot"
    with serving(kit.gateway()) as bare:
        assert "content_filter" == post(bare, path="/compact").json()["error"]["code"]


def test_a_compaction_is_opened_without_a_database_by_the_process_that_made_it(kit: Kit) -> None:
    with serving(kit.gateway()) as bare:
        good(post(bare, input=[compacted(bare), GO]))


def test_a_summary_is_made_anew_for_each_conversation_and_never_shared(kit: Kit) -> None:
    with serving(kit.gateway()) as cached:
        for _ in range(2):
            assert "bypass" == post(cached, path="/compact", input=LONG).headers["x-penstock-cache"]
    assert 2 == len(kit.engines["a"].requests)


def test_the_official_client_sums_a_conversation_up(url: str) -> None:
    client = openai.OpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0)
    items: Any = LONG
    made = client.responses.compact(model="small", input=items)
    assert ["compaction"] == [item.type for item in made.output]
    again: Any = [item.to_dict() for item in made.output]
    assert "completed" == client.responses.create(model="small", input=[*again, *items, GO]).status


# -- truncation -------------------------------------------------------------------------------------


def test_the_oldest_turns_are_dropped_where_the_window_is_full_and_that_is_asked_for(kit: Kit, url: str) -> None:
    turns = [{"role": role, "content": f"{at} " + "word " * 1500} for at in range(30) for role in ("user", "assistant")]
    body: dict[str, Any] = {"input": [*turns, GO], "instructions": "Be brief", "max_output_tokens": 10}
    assert "context_length_exceeded" == post(url, **body).json()["error"]["code"]
    assert "auto" == good(post(url, **body, truncation="auto"))["truncation"]
    said = [message.text[:9] for message in seen(kit)]
    assert ("Be brief", "Go on") == (said[0], said[-1])
    assert 4 < len(said) < 61
    assert "29 word w" == said[-2]
    assert "user" == seen(kit)[1].role
    good(post(url, path="/compact", **body))
