"""`make eval`: what it says of good rows, broken rows and no rows, and what it leaves behind."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evals import __main__ as harness
from evals.curves import auc, calibration, roc
from evals.data import FORMATS
from evals.table import Curve, Figure, Stopwatch, Table, bootstrapped, interval, rate

GOOD = {"text": "hello", "attack": 0}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every judge measures in no time; which were asked."""
    asked: list[str] = []

    def table(judge: str, data: Path, *, short: bool) -> Table:
        asked.append(judge)
        line = Curve("all", [0, 0.5, 1], [0, 0.9, 1], "false positives", "recall", "roc")
        figures = [Figure("AUC", 0.9, 0.8, 0.95, goal=0.95), Figure("flagged", 0.012, 0, 0.1, 0.02, False, "percent")]
        return Table(judge, "a fake", "3 rows", figures, {"risk": 0.5}, (), [line])

    monkeypatch.setattr(harness, "measure", table)
    return asked


def folder(tmp_path: Path, *lines: object) -> Path:
    written = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (tmp_path / "rows.jsonl").write_text("\n".join(written))
    return tmp_path


def run(*args: object) -> int:
    return harness.main([str(arg) for arg in args])


def test_judges_with_rows_are_measured_the_others_named_and_passed_over(
    tmp_path: Path, measured: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    data = folder(tmp_path, GOOD, {"a": "x", "b": "y", "duplicate": 1}, {"strange": 1})
    assert run("--data", data, "--out", tmp_path / "out") == 0
    assert measured == ["injection", "same"]
    said = capsys.readouterr().out
    assert "toxicity: no rows" in said
    assert "1 rows have the fields of no judge" in said


def test_the_report_has_every_figure_with_its_goal_and_a_readable_picture(tmp_path: Path, measured: list[str]) -> None:
    assert run("--data", folder(tmp_path, GOOD), "--out", tmp_path / "out") == 0
    report = (tmp_path / "out" / "report.md").read_text()
    assert "| AUC | 0.900 | 0.800 to 0.950 | ≥ 0.950 | missed |" in report
    assert "| flagged | 1.2 % | 0.0 % to 10.0 % | ≤ 2.0 % | reached |" in report
    assert "![injection: roc](injection-roc.png)" in report
    with Image.open(tmp_path / "out" / "injection-roc.png") as picture:
        picture.verify()
        assert picture.size[0] > 300


def test_only_the_judges_that_are_named_are_measured(tmp_path: Path, measured: list[str]) -> None:
    data = folder(tmp_path, GOOD, {"a": "x", "b": "y", "duplicate": 1})
    assert run("--data", data, "--out", tmp_path / "out", "--only", "same") == 0
    assert measured == ["same"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{not json", "not JSON"),
        ("[1]", "list, not an object"),
        ({"text": 3, "attack": 0}, "`text` is 3, not a string"),
        ({"text": "x", "attack": 2}, "`attack` is 2, not 0 or 1"),
        ({"text": "x", "spans": [{"entity_type": "A"}]}, "not a list of"),
    ],
)
def test_a_broken_row_is_an_error_that_names_file_and_line(
    tmp_path: Path, measured: list[str], capsys: pytest.CaptureFixture[str], line: object, why: str
) -> None:
    assert run("--data", folder(tmp_path, GOOD, line), "--out", tmp_path / "out") == 2
    said = capsys.readouterr().out
    assert "rows.jsonl:2" in said
    assert why in said


def test_no_rows_at_all_is_an_error_that_names_the_formats(
    tmp_path: Path, measured: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--data", folder(tmp_path, {"strange": 1})) == 2
    said = capsys.readouterr().out
    assert all(judge in said for judge in FORMATS)
    assert "weak_correct" in said


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--data", tmp_path / "none") == 2
    assert "no such folder" in capsys.readouterr().out


def test_auc_counts_ties_half_and_is_nan_without_two_classes() -> None:
    truth = np.array([False, True, False, True])
    assert auc(truth, np.array([0.1, 0.9, 0.1, 0.8])) == 1
    assert auc(truth, np.array([0.5, 0.5, 0.5, 0.5])) == 0.5
    assert math.isnan(auc(np.array([True, True]), np.array([0.1, 0.2])))


def test_curves_begin_and_end_where_they_must() -> None:
    truth, scores = np.array([False, True] * 300), np.linspace(0, 1, 600)
    line = roc("x", truth, scores)
    assert (line.x[0], line.y[0], line.x[-1], line.y[-1]) == (0, 0, 1, 1)
    assert len(calibration("x", truth, scores).x) == 10


def test_an_interval_holds_the_value_and_is_wider_when_rows_come_in_groups() -> None:
    rng = np.random.default_rng(1)
    values = np.repeat(rng.random(20), 30)
    figure = bootstrapped("mean", lambda at: float(values[at].mean()), len(values))
    assert figure.low < figure.value < figure.high
    low, high = interval(lambda at: float(values[at].mean()), len(values), groups=np.repeat(np.arange(20), 30).tolist())
    assert high - low > 2 * (figure.high - figure.low)


def test_a_rate_of_nothing_found_is_not_certain() -> None:
    figure = rate("flagged", [False] * 100, goal=0.02, higher=False)
    assert (figure.value, figure.low, figure.reached) == (0, 0, True)
    assert 0.02 < figure.high < 0.06


def test_figures_on_the_wrong_side_of_a_floor_are_told() -> None:
    table = Table("x", "", "", [Figure("AUC", 0.9, 0, 1), Figure("flagged", 0.1, 0, 1, higher=False)])
    assert table.under({"AUC": 0.9, "flagged": 0.1}) == []
    assert len(table.under({"AUC": 0.91, "flagged": 0.09})) == 2
    with pytest.raises(KeyError, match="choose from AUC, flagged"):
        table.under({"F1": 1})


def test_a_stopwatch_gives_milliseconds() -> None:
    watch = Stopwatch()
    for _ in range(3):
        with watch:
            pass
    assert 0 <= watch.latency("nothing").p50 <= watch.latency("nothing").p99 < 100
