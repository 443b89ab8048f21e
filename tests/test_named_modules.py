"""Modules that code names in strings, which no import checks: adapters, callbacks, `import_path`."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("app", "deployments", "graphs")
NAME = re.compile(rf"({'|'.join(PACKAGES)})(\.[a-z_]\w*)+([.:][A-Z]\w*|:[a-z]\w*)?")


def named() -> dict[str, str]:
    """Dotted names that stand alone in a string -> the file."""
    found: dict[str, str] = {}
    for file in (file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        logger = {value for node in ast.walk(tree) if _gets_logger(node) for value in ast.walk(node)}
        for node in set(ast.walk(tree)) - logger:
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
                found[node.value] = str(file.relative_to(ROOT))
    for file in ROOT.glob("configs/*.yaml"):
        for name in re.findall(r"import_path: (\S+)", file.read_text()):
            found[name] = file.name
    return found


def _gets_logger(node: ast.AST) -> bool:
    """Loggers are named like modules, and need be none."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "getLogger"


def there(name: str) -> bool:
    """Whether the module is there, and defines the class or function that the name ends in."""
    *parts, last = re.split(r"[.:]", name)
    module = ".".join(parts) if re.search(r"[:]|\.[A-Z]", name) else name
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return False
    if spec is None:
        return False
    if module == name or spec.origin is None:
        return True
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    return any(getattr(node, "name", None) == last for node in tree.body) or bool(
        [a for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names if last in {a.name, a.asname}]
    )


def test_every_module_and_class_that_is_named_in_a_string_is_there() -> None:
    names = named()
    assert {"deployments.vllm_server.LocalModel", "graphs.chat:build"} <= set(names)
    assert {} == {name: file for name, file in names.items() if not there(name)}
