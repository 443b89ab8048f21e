"""Both forms of traces, and their scaling."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.planner.sizing import busiest
from app.planner.trace import Arrival, TraceError, load, read, scaled, synthetic, write_azure

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:15:46.6805900,374,44
"""


def test_azures_csv_comes_in_order_of_time_and_from_zero_on(tmp_path: Path) -> None:
    file = tmp_path / "azure.csv"
    file.write_text(AZURE)
    assert [Arrival(0.0, 374, 44), Arrival(pytest.approx(4.314579), 396, 109)] == read(file)


def test_mooncakes_lines_keep_their_blocks(tmp_path: Path) -> None:
    file = tmp_path / "mooncake.jsonl"
    rows = [
        {"timestamp": 2000, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]},
        {"timestamp": 3500, "input_length": 700, "output_length": 0},
    ]
    file.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    assert [Arrival(0.0, 600, 5, (0, 1)), Arrival(1.5, 700, 1)] == read(file)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,many,44\n", "line 2"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,5\n", "line 2"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,5,5\n", "line 2"),
        ("TIMESTAMP,ContextTokens\n", "GeneratedTokens"),
        ('{"timestamp": 1, "input_length": 5, "output_length": 5}\n{"timestamp": 1}\n', "line 2"),
        ('{"timestamp": 1, "input_length": -5, "output_length": 5}\n', "line 1"),
        ("[1]\n", "line 1"),
        ("not a trace\n", "line 1"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "no call"),
        ("", "no call"),
    ],
)
def test_what_is_no_trace_is_refused_by_its_place(tmp_path: Path, text: str, place: str) -> None:
    file = tmp_path / "trace"
    file.write_text(text)
    with pytest.raises(TraceError, match=place):
        read(file)


def test_a_scaled_trace_asks_for_the_tokens_of_a_day_with_the_same_calls() -> None:
    trace = synthetic(2000, 3)
    grown = scaled(trace, 1e9)
    assert pytest.approx(1e9) == load(grown).tokens_per_day
    assert [one.tokens for one in trace] == [one.tokens for one in grown]


def test_a_written_trace_is_read_as_it_was(tmp_path: Path) -> None:
    trace = synthetic(50, 3)
    write_azure(trace, tmp_path / "trace.csv")
    again = read(tmp_path / "trace.csv")
    assert [(one.prompt_tokens, one.output_tokens) for one in trace] == [
        (one.prompt_tokens, one.output_tokens) for one in again
    ]
    assert [pytest.approx(one.at, abs=1e-5) for one in trace] == [one.at for one in again]


def test_the_synthetic_trace_has_the_shape_of_azures_and_is_the_same_for_a_seed() -> None:
    trace = synthetic(20_000, 1)
    assert trace == synthetic(20_000, 1) != synthetic(20_000, 2)
    prompts, outputs = (sorted(getattr(one, name) for one in trace) for name in ("prompt_tokens", "output_tokens"))
    assert pytest.approx(1020, rel=0.1) == prompts[10_000]
    assert pytest.approx(129, rel=0.1) == outputs[10_000]
    assert pytest.approx(5.5, rel=0.1) == load(trace).calls_per_second


def test_the_busiest_stretch_is_where_calls_come_closest_together() -> None:
    gaps = [1.0] * 20 + [0.1] * 10 + [1.0] * 20
    trace, at = [], 0.0
    for number, gap in enumerate(gaps):
        trace.append(Arrival(at, number + 1, 1))
        at += gap
    assert list(range(21, 31)) == [one.prompt_tokens for one in busiest(trace, 10)]
    assert 0.0 == busiest(trace, 10)[0].at
