"""What imports must not do, beside the contracts in pyproject.toml that `make lint` holds."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "vllm", "transformers", "spacy", "detoxify", "sentence_transformers", "faiss", "onnxruntime", "ray")


def test_loading_the_gateways_code_loads_no_model_library() -> None:
    code = (
        "import sys; import app.api.app, app.pipeline.build, app.config, app.billing.ledger.ledger, "
        f"app.engines.upstream; print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "[]" == out.stdout.strip()


def test_no_stage_reads_or_writes_the_trail() -> None:
    """It is the audit record's view: what steers a call are its decisions. Settle hands it to the record."""
    readers = {
        file.name
        for file in (ROOT / "app" / "pipeline").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"trail", "note"}
    }
    assert {"settle.py"} == readers
