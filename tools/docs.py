"""Write docs/reference from what the product itself says of its config, commands, errors, headers and endpoints.

    python -m tools.docs            write the pages
    python -m tools.docs --check    exit with 1 where a page is not what it would write

The pages are committed, so that they can be read without a build; a test holds them to the code.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from app.api.openapi import document
from app.api.openapi.operations import OPERATIONS
from app.config import Graph, Policy
from app.core import errors
from graphs.cli import app

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
Schema = Mapping[str, Any]


def config() -> str:
    """Every key of a config file, with its type, default and meaning."""
    parts = ["# Config", "", "Keys below `args` say what stands in the graph, keys below `user_config` how it decides."]
    for title, model in (("args", Graph), ("user_config of the Gateway", Policy)):
        schema = model.model_json_schema()
        parts += ["", f"## {title}", "", *_object(schema)]
        for name, about in sorted(schema.get("$defs", {}).items()):
            if "properties" in about:
                parts += ["", f"### {name}", "", *_object(about)]
    return "\n".join(parts) + "\n"


def _object(schema: Schema) -> Iterator[str]:
    if about := schema.get("description"):
        yield " ".join(about.split())
        yield ""
    yield "| key | type | default | |"
    yield "|---|---|---|---|"
    needed = schema.get("required", ())
    for name, one in schema.get("properties", {}).items():
        default = "required" if name in needed else _default(one)
        yield f"| `{name}` | {_type(one)} | {default} | {_cell(one.get('description', ''))} |"


def _default(one: Schema) -> str:
    if "default" not in one:
        return ""
    said = one["default"]
    return "" if isinstance(said, dict | list) and len(str(said)) > 40 else f"`{_cell(str(said))}`"


def _type(one: Schema) -> str:
    if "$ref" in one:
        name = one["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in one:
        return " or ".join(dict.fromkeys(_type(part) for part in one["anyOf"]))
    if "enum" in one:
        return ", ".join(f"`{value}`" for value in one["enum"])
    kind = str(one.get("type", "any"))
    if kind == "array":
        return f"list of {_type(one.get('items', {}))}"
    if kind == "object" and isinstance(one.get("additionalProperties"), dict):
        return f"name: {_type(one['additionalProperties'])}"
    bounds = [f"{sign} {one[key]:g}" for key, sign in BOUNDS.items() if key in one]
    return f"{kind} {', '.join(bounds)}".strip()


BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def commands() -> str:
    """Every command with its arguments and options."""
    group = typer.main.get_command(app)
    parts = ["# Commands", "", "`--help` behind any of them says the same in the terminal."]
    for path, command in _commands(group, "penstock"):
        parts += ["", f"## {path}", "", " ".join((command.help or "").split())]
        rows = [_parameter(one) for one in command.params if one.name != "help"]
        if rows:
            parts += ["", "| | default | |", "|---|---|---|", *rows]
    return "\n".join(parts) + "\n"


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    children = getattr(group, "commands", None)
    if children is None:
        yield path, group
        return
    for name, child in sorted(children.items()):
        yield from _commands(child, f"{path} {name}")


def _parameter(one: Any) -> str:
    name = ", ".join(one.opts) if one.param_type_name == "option" else str(one.name).upper()
    default = one.default if isinstance(one.default, str | int | float) and one.default is not False else ""
    said = getattr(one, "help", None) or ""
    return f"| `{name}` | {f'`{default}`' if default != '' else ''} | {_cell(said)} |"


def error_page() -> str:
    """Every error that a client can see: the status, the code, and the sentence with its blanks."""
    lines = [
        "# Errors",
        "",
        "Every error has OpenAI's shape or, on its own paths, Anthropic's, and an `x-request-id`. Three dots",
        "stand for what belongs to the request.",
        "",
        "| name | status | code | message |",
        "|---|---|---|---|",
    ]
    tree = ast.parse(inspect.getsource(errors))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            lines += _errors(node)
    return "\n".join(lines) + "\n"


def _errors(node: ast.FunctionDef) -> Iterator[str]:
    for call in ast.walk(node):
        made = call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""
        if isinstance(call, ast.Call) and made in {"ApiError", "bad_request"}:
            values = [_text(value) for value in call.args]
            status = "400" if made == "bad_request" else values.pop(0)
            code = next((_text(word.value) for word in call.keywords if word.arg == "code"), "...")
            if values and values[0] not in {"", "..."}:
                told = "" if code == "..." else f"`{code}`"
                yield f"| `{node.name}` | {status} | {told} | {_cell(values[0])} |"


def _text(node: ast.expr) -> str:
    """A literal's text, with `...` for what is put in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else "..." for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return "..."


def headers() -> str:
    """Every header of an answer, and those of a request that mean something here."""
    parts = ["# Headers"]
    tables = {
        "Of a request": document.PARAMETERS,
        "Of every answer": {**document.HEADERS, **document.MORE_HEADERS},
        "Of an answer to a call": document.CALL_HEADERS,
    }
    for title, table in tables.items():
        parts += ["", f"## {title}", "", "| header | |", "|---|---|"]
        parts += [f"| `{name}` | {_cell(_described(one))} |" for name, one in table.items()]
    return "\n".join(parts) + "\n"


def _described(one: Schema) -> str:
    return str(one.get("description") or one.get("schema", {}).get("description") or "")


def endpoints() -> str:
    """Every operation of the public API."""
    lines = ["# API", "", "`/openapi.json` of a running graph has the same with every field.", "", "| | |", "|---|---|"]
    lines += [f"| `{method.upper()} {path}` | {_cell(summary)} |" for method, path, summary in _operations()]
    return "\n".join(lines) + "\n"


def _operations() -> Iterator[tuple[str, str, str]]:
    for (method, path), operation in OPERATIONS.items():
        yield method, path, operation.summary


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


PAGES = {"config": config, "commands": commands, "errors": error_page, "headers": headers, "api": endpoints}


def main() -> int:
    """Write or check the pages."""
    parser = argparse.ArgumentParser(description="docs/reference")
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for name, make in PAGES.items():
        file, text = FOLDER / f"{name}.md", make()
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                FOLDER.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
    for name in stale:
        print(
            f"docs/reference/{name}.md {'is not what the code says: run python -m tools.docs' if check else 'written'}"
        )
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())
