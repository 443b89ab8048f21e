"""Every judge on a few rows of our own: none falls under its floor."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from evals.__main__ import SHORT, measure
from evals.data import FORMATS, survey


@pytest.mark.parametrize("judge", FORMATS)
def test_a_judge_stays_above_its_floors(judge: str) -> None:
    table = measure(judge, SHORT, short=True)
    assert table is not None
    assert table.under(import_module(f"evals.{judge}").FLOORS) == []


def test_there_are_rows_for_every_judge() -> None:
    counts, _ = survey(Path(SHORT))
    assert [judge for judge, count in counts.items() if not 60 <= count <= 600] == []
