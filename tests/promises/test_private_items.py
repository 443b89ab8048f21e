"""Nothing personal of a Responses request reaches an engine, whatever the item or tool that it stands in.

A name is planted in every string of every item type, part and tool of the API, and looked for in what the engine gets.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kit import KEY, Kit, serving

NAME = "Ada Lovelace"
FORM = {"type", "role", "status", "syntax", "mode", "outcome"}
"""Keys whose value is a word of the API's form."""
ITEMS: list[list[dict[str, Any]]] = [
    [{"type": "message", "id": "x", "role": role, "content": "x", "phase": "x", "name": "x"}]
    for role in ("user", "assistant", "developer", "system")
]
ITEMS += [
    [
        {
            "role": "user",
            "content": [{"type": kind, "text": "x", "refusal": "x", "filename": "x", "image_url": "x", "y": "x"}],
        }
    ]
    for kind in ("input_text", "output_text", "refusal", "input_image", "input_file", "summary_text", "new_part")
]
ITEMS += [
    [
        {"type": "function_call", "id": "x", "call_id": "c", "name": "x", "namespace": "x", "arguments": '{"x": "x"}'},
        {"type": "function_call_output", "id": "x", "call_id": "c", "output": "x"},
    ],
    [
        {"type": "custom_tool_call", "id": "x", "call_id": "c", "name": "x", "namespace": "x", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "x"}]},
    ],
    [
        {
            "type": "local_shell_call",
            "id": "x",
            "call_id": "c",
            "action": {"type": "exec", "command": ["x"], "env": {"x": "x"}, "user": "x", "working_directory": "x"},
        },
        {"type": "local_shell_call_output", "call_id": "c", "output": "x"},
    ],
    [
        {"type": "shell_call", "call_id": "c", "action": {"commands": ["x"]}, "environment": {"type": "local"}},
        {"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "x", "stderr": "x", "outcome": "exit"}]},
    ],
    [
        {"type": "apply_patch_call", "call_id": "c", "operation": {"type": "update_file", "path": "x", "diff": "x"}},
        {"type": "apply_patch_call_output", "call_id": "c", "output": "x", "status": "failed"},
    ],
    [
        {"type": "computer_call", "call_id": "c", "action": {"type": "type", "text": "x"}, "checks": ["x"]},
        {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot", "image_url": "x"}},
    ],
    [{"type": "mcp_call", "id": "m", "name": "x", "server_label": "x", "arguments": '{"x": "x"}', "output": "x"}],
    [{"type": "mcp_call", "id": "m", "name": "x", "server_label": "x", "arguments": "x", "error": {"message": "x"}}],
    [{"type": "code_interpreter_call", "id": "c", "code": "x", "outputs": [{"type": "logs", "logs": "x"}]}],
    [{"type": "file_search_call", "id": "f", "queries": ["x"], "results": [{"filename": "x", "text": "x"}]}],
    [{"type": "web_search_call", "id": "w", "action": {"type": "search", "query": "x"}}],
    [{"type": "reasoning", "id": "x", "summary": [{"type": "summary_text", "text": "x"}], "encrypted_content": "x"}],
    [{"type": "image_generation_call", "id": "i", "result": "x", "revised_prompt": "x"}],
    [{"type": "mcp_list_tools", "id": "m", "server_label": "x", "tools": [{"name": "x", "description": "x"}]}],
    [{"type": "mcp_approval_response", "approval_request_id": "x", "approve": True, "reason": "x"}],
    [
        {"type": "tool_search_call", "call_id": "c", "arguments": {"x": "x"}},
        {"type": "tool_search_output", "call_id": "c", "tools": ["x"]},
    ],
    [
        {"type": "new_call", "call_id": "c", "x": {"x": ["x", {"x": "x"}]}},
        {"type": "new_call_output", "call_id": "c", "output": {"x": "x"}},
    ],
    [{"type": "function_call_output", "call_id": "gone", "output": "x"}],
]
SCHEMA = {"type": "object", "description": "x", "properties": {"x": {"type": "string", "enum": ["x"], "pattern": "x"}}}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "name": "x", "description": "x", "parameters": SCHEMA},
    {
        "type": "custom",
        "name": "x",
        "description": "x",
        "format": {"type": "grammar", "syntax": "lark", "definition": "x"},
    },
    {
        "type": "namespace",
        "name": "x",
        "description": "x",
        "tools": [
            {"type": "function", "name": "x", "parameters": SCHEMA},
            {"type": "custom", "name": "y x", "description": "x"},
        ],
    },
    {"type": "web_search", "user_location": {"city": "x"}},
    {"type": "mcp", "server_label": "x", "server_url": "x", "headers": {"x": "x"}},
    {"type": "shell", "environment": {"type": "local", "x": "x"}},
]


def strings(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a string stands that says something."""
    if isinstance(node, str):
        if not path or path[-1] not in FORM:
            yield path
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from strings(value, (*path, key))
    elif isinstance(node, list):
        for at, value in enumerate(node):
            yield from strings(value, (*path, at))


def planted(node: Any, path: tuple[Any, ...], text: str) -> Any:
    """The same with another string at this place. Ids that join a call and its output stay joined."""
    if not path:
        return text if not str(node).startswith("{") else json.dumps({"said": text})
    first, *rest = path
    copy = dict(node) if isinstance(node, dict) else list(node)
    copy[first] = planted(node[first], tuple(rest), text)
    return copy


PLACES = [(items, path) for items in ITEMS for path in strings(items) if path[-1] != "call_id"]
SPOKEN = st.sampled_from([NAME, f"by {NAME}", f"{NAME}'s book", f"(x) {NAME}!", f"line\n{NAME}\nline"])


@pytest.fixture(scope="module")
def kit() -> Kit:
    return Kit()


@pytest.fixture(scope="module")
def url(kit: Kit) -> Iterator[str]:
    stages = [stage for stage in kit.gateway().policy.stages if stage not in ("recall", "remember")]
    with serving(kit.gateway(stages=stages)) as base:
        yield base


def engine_gets(kit: Kit, url: str, **body: Any) -> str:
    """All of it, as one text."""
    kit.engines["a"].requests.clear()
    asked = {"model": "small", "input": [{"role": "user", "content": "Go on"}]} | body
    answer = httpx.post(f"{url}/v1/responses", json=asked, headers={"Authorization": f"Bearer {KEY}"}, timeout=30)
    assert 200 == answer.status_code, answer.text
    (request,) = kit.engines["a"].requests
    return json.dumps([[asdict(message) for message in request.messages], request.params], default=str)


def test_the_name_is_planted_in_many_places_and_found_where_nobody_hides_it(kit: Kit, url: str) -> None:
    assert len(PLACES) > 70
    kept, kit.scrubber.patterns = kit.scrubber.patterns, {}
    found = [
        path for items, path in PLACES if NAME in engine_gets(kit, url, input=[*planted(items, path, NAME), *AFTER])
    ]
    kit.scrubber.patterns = kept
    assert len(found) > 30


AFTER = [{"role": "assistant", "content": "Fine"}, {"role": "user", "content": "Go on"}]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(PLACES), text=SPOKEN)
def test_no_name_in_any_item_reaches_the_engine(
    kit: Kit, url: str, place: tuple[list[dict[str, Any]], tuple[Any, ...]], text: str
) -> None:
    items, path = place
    said = engine_gets(kit, url, input=[*planted(items, path, text), *AFTER])
    assert "Lovelace" not in said


TOOL_PLACES = [(at, path) for at, tool in enumerate(TOOLS) for path in strings(tool)]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(TOOL_PLACES), text=SPOKEN)
def test_no_name_in_any_tool_reaches_the_engine(
    kit: Kit, url: str, place: tuple[int, tuple[Any, ...]], text: str
) -> None:
    at, path = place
    tools = [planted(tool, path, text) if at == n else tool for n, tool in enumerate(TOOLS)]
    assert "Lovelace" not in engine_gets(kit, url, tools=tools)


def test_a_custom_calls_input_comes_back_with_the_name(kit: Kit, url: str) -> None:
    kit.engines["a"].tools = [("note", json.dumps({"input": 'to "<PERSON_1>"'}))]
    body = {"model": "small", "input": f"Note {NAME}", "tools": [{"type": "custom", "name": "note"}]}
    answer = httpx.post(f"{url}/v1/responses", json=body, headers={"Authorization": f"Bearer {KEY}"}, timeout=30)
    kit.engines["a"].tools = []
    assert f'to "{NAME}"' == answer.json()["output"][0]["input"]
