"""The project rules that imports and files can break."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {"app": {"app"}, "deployments": {"app", "deployments"}, "graphs": {"app", "deployments", "graphs"}}


def imports(package: str) -> Iterator[tuple[str, str]]:
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for name in names:
                yield str(file.relative_to(ROOT)), name


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_one_way(package: str) -> None:
    ours = [(file, name) for file, name in imports(package) if name.split(".")[0] in ALLOWED]
    assert ours
    assert [(f, n) for f, n in ours if n.split(".")[0] not in ALLOWED[package]] == []


def test_app_never_imports_ray() -> None:
    assert [(f, n) for f, n in imports("app") if n.split(".")[0] == "ray"] == []


def test_stages_and_rules_import_no_adapter_and_no_http() -> None:
    found = {
        f: n
        for part in ("app/pipeline/stages", "app/core", "app/routing")
        for f, n in imports(part)
        if n.startswith(
            (
                "app.db",
                "app.api",
                "app.billing.ledger",
                "app.cache.faiss",
                "app.privacy.presidio",
                "fastapi",
                "starlette",
            )
        )
    }
    assert found == {}


def test_loading_the_gateways_code_loads_no_model_library() -> None:
    heavy = ("torch", "vllm", "transformers", "spacy", "detoxify", "sentence_transformers", "faiss", "onnxruntime")
    code = (
        "import sys; import app.api.app, app.pipeline.build, app.config, app.billing.ledger, app.engines.upstream; "
        "import app.billing.ledger.ledger; "
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
