"""What a test needs that not every machine has or that takes long: found from the test itself, never from a list.

conftest -> [needs] -> the tests that `--part` takes. tools/test.py runs the parts one after the other.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from app.config.adapters import ADAPTERS

PARTS = {
    "all": "all: every test",
    "quick": "quick: needs no Ray, no PostgreSQL, no Chromium, no model's weights and no Python of its own",
    "apart": "apart: everything but what runs on Ray; may run side by side",
    "graph": "graph: what runs on Ray, one test after the other",
}
ROOT = Path(__file__).parents[1]
CATALOG = "app.models.catalog"
ASKED = frozenset({f"{CATALOG}.resolve", "app.runtime.prepare.prepare", "app.config.adapters.load"})
"""Functions that find weights, or make what loads them."""
TRAINERS = {"torch", "sklearn"}
"""Take seconds to import; the product loads them for models alone."""
AROUND = ("tests.", "deployments.", "graphs.", "evals.", "tools.", "bench.")
"""Our packages around `app`: a test needs what they import. `app` loads Ray nowhere, and weights when asked."""


@lru_cache
def imported(file: Path) -> frozenset[str]:
    """Every `module` and `module.name` that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found |= _any_of(node.args[0])
    return frozenset(found)


def _any_of(name: ast.expr) -> set[str]:
    """The modules that `import_module(f"package.{which}")` may mean: all of the package's."""
    start = name.values[0] if isinstance(name, ast.JoinedStr) else None
    if not isinstance(start, ast.Constant) or not str(start.value).endswith("."):
        return set()
    folder = ROOT / Path(*str(start.value).split("."))
    return {f"{start.value}{file.stem}" for file in folder.glob("*.py")}


@lru_cache
def reached(file: Path) -> frozenset[str]:
    """The same with what our modules around `app` import in their turn."""
    found, new = set(imported(file)), set(imported(file))
    while new:
        files = {_file(name) for name in new if f"{name}.".startswith(AROUND)}
        new = {name for one in files if one.exists() for name in imported(one)} - found
        found |= new
    return frozenset(found)


@lru_cache
def loaders() -> frozenset[str]:
    """What loads weights: who is asked for them, and every adapter of a port whose module asks the catalog."""
    names = {name.replace(":", ".") for adapters in ADAPTERS.values() for name in adapters.values()}
    loading = {name for name in names if _asks_the_catalog(name.rpartition(".")[0])}
    return ASKED | loading


def _asks_the_catalog(module: str) -> bool:
    names = imported(_file(module))
    return f"{CATALOG}.resolve" in names or any(
        _asks_the_catalog(name) for name in names if name.startswith("app.models.") and _file(name).exists()
    )


def _file(module: str) -> Path:
    return ROOT / Path(*module.split(".")).with_suffix(".py")


@lru_cache
def needs_of(file: Path) -> frozenset[str]:
    """What no test of a file runs without: `graph` (runs on Ray), `ray` (imports it), `browser`, `models`."""
    direct, names = imported(file), reached(file)
    facts = {
        "graph": "ray" in direct or "tests.graph" in names,
        "ray": "ray" in {name.split(".")[0] for name in names},
        "browser": "tests.chromium" in names,
        "models": bool(loaders() & names) or bool(TRAINERS & {name.split(".")[0] for name in names}),
    }
    return frozenset(name for name, is_so in facts.items() if is_so)


def needs(item: pytest.Item) -> frozenset[str]:
    """What a test does not run without: that of its file, and `postgres`."""
    chosen = getattr(item, "callspec", None)
    fixtures = set(getattr(item, "fixturenames", ()))
    postgres = bool({"postgres", "own_postgres"} & fixtures) or (
        chosen is not None and "postgres" in map(str, chosen.params.values())
    )
    return needs_of(item.path) | ({"postgres"} if postgres else set())


def takes(part: str, needed: frozenset[str]) -> bool:
    """Whether a part has tests with these needs."""
    return {"all": True, "quick": not needed, "apart": "graph" not in needed, "graph": "graph" in needed}[part]


def without_processes() -> None:
    """From here on a test is skipped where it would start a Python of its own: that takes seconds to import us."""
    ours = str(Path(sys.executable).parent)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen" and any(word.startswith(ours) for word in _words(args[1])):
            pytest.skip("starts a Python of its own: left to `make test`")

    sys.addaudithook(hook)


def _words(command: Any) -> Iterator[str]:
    yield from ([command] if isinstance(command, str | bytes | Path) else map(str, command))  # type: ignore[list-item]


def tell(file: Path, counts: dict[str, int]) -> None:
    """Write a run's counts."""
    file.write_text(json.dumps(counts), encoding="utf-8")
