"""The suite's parts: every test is in one of the two runs of `make test`, and no failure is lost between them."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from tests.parts import ASKED, loaders, reached

ROOT = Path(__file__).parents[1]


@pytest.fixture
def runner() -> Any:
    spec = spec_from_file_location("runner", ROOT / "tools" / "test.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ran(runner: Any, monkeypatch: pytest.MonkeyPatch, *codes: int) -> int:
    """`main`, whose runs of pytest end with these codes and pass three tests each."""
    left = list(codes)

    def run(part: str, options: tuple[str, ...], arguments: list[str], tally: Path) -> int:
        assert ["tests/x"] == arguments
        tally.write_text(json.dumps({"passed": 3, "failed": 1, "deselected": 7, "": 9}))
        return left.pop(0)

    monkeypatch.setattr(runner, "run", run)
    code: int = runner.main(["tests/x"])
    assert [] == left, "a run was left out"
    return code


@pytest.mark.parametrize(
    ("codes", "expected"),
    [((0, 0), 0), ((1, 0), 1), ((0, 1), 1), ((5, 0), 0), ((0, 5), 0), ((5, 5), 5), ((-9, 0), -9), ((5, 2), 2)],
)
def test_the_exit_code_is_0_only_where_tests_ran_and_every_run_passed(
    runner: Any, monkeypatch: pytest.MonkeyPatch, codes: tuple[int, int], expected: int
) -> None:
    assert expected == ran(runner, monkeypatch, *codes)


def test_the_last_line_is_pytests_with_the_sums_of_all_runs(
    runner: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(runner, monkeypatch, 0, 0)
    counts, _, seconds = capsys.readouterr().out.splitlines()[-1].partition(" in ")
    assert "2 failed, 6 passed" == counts
    assert float(seconds.removesuffix("s")) >= 0


def test_an_adapter_that_loads_weights_is_known_by_its_imports() -> None:
    assert {
        "app.models.encoder.MiniLMEncoder", "app.privacy.presidio.scrubber.PresidioScrubber",
        "app.safety.injection.OnnxInjection", "app.routing.complexity.LinearComplexity",
        "app.safety.detoxify.DetoxifyClassifier", "app.cache.paraphrase.judge.MiniLMParaphraseJudge",
    } == loaders() - ASKED  # fmt: skip


@pytest.mark.parametrize("function", sorted(ASKED))
def test_a_function_that_is_asked_for_weights_stands_where_it_is_named(function: str) -> None:
    module, _, name = function.rpartition(".")
    assert callable(getattr(import_module(module), name))


def test_what_a_test_needs_is_found_behind_the_modules_that_it_imports() -> None:
    assert "ray.exceptions" in reached(ROOT / "tests" / "deployments" / "test_engine_client.py")
    assert loaders() & reached(ROOT / "tests" / "evals" / "test_short.py")
    assert not loaders() & reached(ROOT / "tests" / "api" / "test_chat.py")
