"""Tools that the client itself runs, as functions: what a call of theirs holds is the function's arguments.

tools -> [client_tools] -> engine; arguments -> [client_tools] -> output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class ClientTool:
    """function: for the engine, but for its name. client_runs: whether the tool, as sent, is run by the client.

    held: arguments -> what the call's item holds of them; raises KeyError, TypeError.
    """

    function: Mapping[str, Any]
    client_runs: Callable[[Mapping[str, Any]], bool]
    held: Callable[[dict[str, Any]], dict[str, Any]]


def _schema(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [required]}


_WORDS = {"type": "array", "items": {"type": "string"}}
_MS = {"type": "integer", "description": "Milliseconds after which it is stopped."}


def _local_shell(said: dict[str, Any]) -> dict[str, Any]:
    command = [str(word) for word in _list(said["command"])]
    more = {name: said[name] for name in ("timeout_ms", "user", "working_directory") if said.get(name) is not None}
    return {"action": {"type": "exec", "command": command, "env": {}, **more}}


def _shell(said: dict[str, Any]) -> dict[str, Any]:
    commands = [str(line) for line in _list(said["commands"])]
    limits = {name: said.get(name) for name in ("timeout_ms", "max_output_length")}
    return {"action": {"commands": commands, **limits}}


def _patch(said: dict[str, Any]) -> dict[str, Any]:
    operation = said["operation"]
    if not isinstance(operation, dict) or not isinstance(operation["path"], str):
        raise TypeError
    return {"operation": {"type": str(operation["type"]), **operation}}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _local(tool: Mapping[str, Any]) -> bool:
    environment = tool.get("environment")
    return environment is None or (isinstance(environment, Mapping) and environment.get("type") == "local")


FUNCTIONS: Mapping[str, ClientTool] = {
    "local_shell": ClientTool(
        {
            "description": "Run a command on the user's machine.",
            "parameters": _schema(
                "command", command=_WORDS, working_directory={"type": "string"}, timeout_ms=_MS, user={"type": "string"}
            ),
        },
        lambda _: True,
        _local_shell,
    ),
    "shell": ClientTool(
        {
            "description": "Run shell commands on the user's machine.",
            "parameters": _schema("commands", commands=_WORDS, timeout_ms=_MS, max_output_length={"type": "integer"}),
        },
        _local,
        _shell,
    ),
    "apply_patch": ClientTool(
        {
            "description": "Create, update or delete a file. A diff is in the V4A format.",
            "parameters": _schema(
                "operation",
                operation={
                    "type": "object",
                    "properties": {
                        "type": {"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
                        "path": {"type": "string"},
                        "diff": {"type": "string"},
                    },
                    "required": ["type", "path"],
                },
            ),
        },
        lambda _: True,
        _patch,
    ),
}
"""By the tool's type."""


def held(kind: str, arguments: str) -> dict[str, Any] | None:
    """What an item of this kind's call holds; None: the model wrote something else."""
    try:
        said = orjson.loads(arguments)
        return FUNCTIONS[kind].held(said) if isinstance(said, dict) else None
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
