"""Log lines of the app: one JSON object each, or one readable line, with the request and the call they belong to.

An exception is logged as where it happened, never with its message: that may quote a prompt.
"""

from __future__ import annotations

import logging
import traceback
from datetime import UTC, datetime
from typing import Any

import orjson

from app.core.call import CALL_ID, REQUEST_ID
from app.core.ports import UsageRow

log = logging.getLogger("app.calls")


def configure(level: str, *, json: bool) -> None:
    """Send what the `app` loggers say from `level` (`INFO`) up to standard error. The last call holds."""
    handler = logging.StreamHandler()
    handler.setFormatter(Json() if json else Plain())
    loggers = logging.getLogger("app")
    loggers.handlers[:] = [handler]
    loggers.propagate = False
    loggers.setLevel(level)


def call_line(row: UsageRow) -> None:
    """One line for a settled call: who, where, what became of it, what it took. Money as exact text, times in s."""
    if not log.isEnabledFor(logging.INFO):
        return
    facts = {
        "call": row.id,
        "tenant": row.tenant,
        "project": row.project or None,
        "key": row.key_id,
        "model": row.model,
        "tier": row.tier,
        "pool": row.pool,
        "region": row.region,
        "outcome": row.outcome,
        "refused_by": row.refused_by,
        "prompt_tokens": row.prompt_tokens,
        "cached_tokens": row.cached_tokens,
        "completion_tokens": row.completion_tokens,
        "cost": f"{row.cost:f}",
        "ttft": None if row.ttft is None else round(row.ttft, 6),
        "latency": round(row.latency, 6),
        "batch": row.batch or None,
    }
    log.info("call", extra={"facts": {name: value for name, value in facts.items() if value is not None}})


class Json(logging.Formatter):
    """`{"time", "level", "logger", "message", "request_id", "call", ..., "exception"}`, time in RFC 3339."""

    def format(self, record: logging.LogRecord) -> str:
        line = {**_head(record), **_facts(record)}
        if error := _error(record):
            line["exception"] = [{"type": type(one).__name__, "frames": _frames(one)} for one in _chain(error)]
        return orjson.dumps(line, default=str).decode()


class Plain(logging.Formatter):
    """`time LEVEL logger: message name=value ...`, and the frames of an exception below."""

    def format(self, record: logging.LogRecord) -> str:
        head = _head(record)
        said = " ".join(f"{name}={value}" for name, value in _facts(record).items())
        lines = [f"{head['time']} {head['level']} {head['logger']}: {head['message']} {said}".rstrip()]
        if error := _error(record):
            for one in _chain(error):
                lines += [f"  {type(one).__name__}", *(f"    {frame}" for frame in _frames(one))]
        return "\n".join(lines)


def _head(record: logging.LogRecord) -> dict[str, str]:
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    # A lone surrogate, from a path or a header, is no text that JSON can hold.
    message = record.getMessage().encode("utf-8", "backslashreplace").decode()
    return {
        "time": time.replace("+00:00", "Z"),
        "level": record.levelname,
        "logger": record.name,
        "message": message,
    }


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    known = {"request_id": REQUEST_ID.get(), "call": CALL_ID.get()}
    return {name: value for name, value in known.items() if value} | getattr(record, "facts", {})


def _error(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None


def _chain(error: BaseException) -> list[BaseException]:
    """The exception and what led to it, the last first."""
    chain: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in chain:
        chain.append(one)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return chain


def _frames(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
