"""Log lines: what they hold, to whom they belong, and what never gets into them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.api.headers import Stamp
from app.core.call import CALL_ID
from app.core.ports import UsageRow
from app.observability.logs import Json, call_line, configure

log = logging.getLogger("app.stages.somewhere")
SECRET = "the prompt's own words"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The `app` logger as it was: other tests capture it."""
    logger = logging.getLogger("app")
    before = logger.handlers[:], logger.propagate, logger.level
    yield
    logger.handlers[:], logger.propagate = before[0], before[1]
    logger.setLevel(before[2])


def row(**changes: Any) -> UsageRow:
    base: dict[str, Any] = {
        "id": "chatcmpl-1", "created": 1.0, "tenant": "acme", "key_id": "key_1", "model": "auto", "tier": "small",
        "pool": "a", "region": "eu", "outcome": "ok", "refused_by": None, "prompt_tokens": 7, "cached_tokens": 2,
        "completion_tokens": 5, "cost": Decimal("0.000000001"), "price_list": "default", "ttft": 0.1, "latency": 0.25,
        "trail": {"scrub": {"types": {"PERSON": 1}}},
    }  # fmt: skip
    return UsageRow(**(base | changes))


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_one_json_object_with_time_level_logger_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", json=True)
    log.warning("the pool %s is slow\nvery", "a")
    (line,) = lines(capsys)
    assert set(line) == {"time", "level", "logger", "message"}
    assert (line["level"], line["logger"]) == ("WARNING", "app.stages.somewhere")
    assert line["message"] == "the pool a is slow\nvery"
    assert line["time"].endswith("Z")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(line["time"])) < timedelta(seconds=10)


def test_below_the_level_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    configure("WARNING", json=True)
    log.info("quiet")
    call_line(row())
    assert lines(capsys) == []


def test_configuring_again_says_every_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", json=False)
    configure("INFO", json=True)
    log.info("once")
    assert [line["message"] for line in lines(capsys)] == ["once"]


@pytest.mark.parametrize("as_json", [True, False])
def test_an_exception_is_told_by_its_frames_and_never_by_its_message(
    as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    configure("INFO", json=as_json)
    try:
        try:
            _ = dict[str, int]()[SECRET]
        except KeyError as error:
            raise ValueError(SECRET) from error
    except ValueError:
        # What a handler before ours leaves on the record must not be said either.
        for handler in logging.getLogger("app").handlers:
            handler.addFilter(lambda record: setattr(record, "exc_text", SECRET) or True)
        log.exception("it broke")
    said = capsys.readouterr().err
    assert SECRET not in said
    assert "ValueError" in said
    assert "KeyError" in said
    assert "test_logs.py:" in said
    if as_json:
        assert [one["type"] for one in json.loads(said)["exception"]] == ["ValueError", "KeyError"]


async def test_lines_carry_the_request_and_the_call_they_belong_to(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", json=True)

    second = asyncio.Event()

    async def settle_later() -> None:
        await second.wait()
        log.info("settled")

    tasks = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        CALL_ID.set(f"call of {scope['path']}")
        if scope["path"] == "/1":
            await second.wait()  # the two overlap
        second.set()
        log.info("served")
        tasks.append(asyncio.ensure_future(settle_later()))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with httpx.AsyncClient(transport=httpx.ASGITransport(Stamp(app)), base_url="http://gateway") as client:
        asked = [client.get(f"/{n}", headers={"x-request-id": f"req_{n}"}) for n in (1, 2)]
        assert [answer.headers["x-request-id"] for answer in await asyncio.gather(*asked)] == ["req_1", "req_2"]
    await asyncio.gather(*tasks)
    log.info("outside")
    found = [(line["message"], line.get("request_id"), line.get("call")) for line in lines(capsys)]
    assert sorted(found[:-1]) == [
        ("served", "req_1", "call of /1"),
        ("served", "req_2", "call of /2"),
        ("settled", "req_1", "call of /1"),
        ("settled", "req_2", "call of /2"),
    ]
    assert found[-1] == ("outside", None, None)


def test_a_settled_call_is_one_line_of_facts(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", json=True)
    call_line(row(project="web", ttft=0.1234567))
    (line,) = lines(capsys)
    assert {"level": "INFO", "logger": "app.calls", "message": "call"}.items() <= line.items()
    assert {name: line[name] for name in line if name not in {"time", "level", "logger", "message"}} == {
        "call": "chatcmpl-1", "tenant": "acme", "project": "web", "key": "key_1", "model": "auto", "tier": "small",
        "pool": "a", "region": "eu", "outcome": "ok", "prompt_tokens": 7, "cached_tokens": 2, "completion_tokens": 5,
        "cost": "0.000000001", "ttft": 0.123457, "latency": 0.25,
    }  # fmt: skip


def test_what_the_stages_noted_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", json=True)
    call_line(row(trail={"guard": {"label": SECRET}}))
    assert SECRET not in capsys.readouterr().err


def test_a_plain_line_reads_well(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", json=False)
    call_line(row(tier=None, outcome="refused", refused_by="guard"))
    said = capsys.readouterr().err
    assert "INFO app.calls: call call=chatcmpl-1 tenant=acme" in said
    assert "outcome=refused refused_by=guard" in said
    assert "tier=" not in said


@given(st.text(st.characters(), max_size=40))
@example("a lone surrogate: \ud800")
def test_any_text_at_all_makes_one_line_of_json(text: str) -> None:
    said = Json().format(logging.LogRecord("app", logging.INFO, "file", 1, "%s", (text,), None))
    assert "\n" not in said
    assert json.loads(said)["message"] == text.encode("utf-8", "backslashreplace").decode()
