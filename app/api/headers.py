"""Response headers: OpenAI's, and ours that tell what happened to a call."""

from __future__ import annotations

import logging
import re
import secrets
import time
import traceback
from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.anthropic.dialect import error_for
from app.api.ignored import HEADER as IGNORED
from app.core import errors
from app.core.call import REQUEST_ID, Call
from app.core.decisions import RouteDecision
from app.core.ports import Window

log = logging.getLogger(__name__)
VERSION = "2020-10-01"
FOUND = {"block": "blocked", "flag": "flagged", "throttle": "throttled"}
"""What a stage's finding did to the call, by its action."""
_SAFE_ID = re.compile(r"[\x21-\x7e]{1,128}")


RENAMED = {"x-penstock-recall": "x-penstock-cache-decision"}
"""Headers' old names -> the new: both are sent for one version."""
CACHED = {"exact": "hit", "hit": "hit", "explore": "miss", "miss": "miss", "bypass": "bypass"}
"""What a lookup came to, for the caller: `explore` is a miss from which the cache learns."""


def duration(seconds: float) -> str:
    """OpenAI's spelling: `12ms`, `1s`, `6m0s`, `1h0m0s`."""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))}ms"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def rate_limits(windows: Mapping[str, Window]) -> dict[str, str]:
    """`x-ratelimit-{limit,remaining,reset}-{requests,tokens}`."""
    out = {}
    for what, window in windows.items():
        out[f"x-ratelimit-limit-{what}"] = str(window.limit)
        out[f"x-ratelimit-remaining-{what}"] = str(max(0, window.remaining))
        out[f"x-ratelimit-reset-{what}"] = duration(window.reset)
    return out


def of_call(call: Call, *, settled: bool) -> dict[str, str]:
    """`x-penstock-*` and rate limits. The cost is known only once the call is settled: not on a stream."""
    made = call.decisions
    scrubbed = made.scrub.types if made.scrub else {}
    looked = made.recall.trail if made.recall else {}
    # A stream that began with a keep-alive does not know yet which pool will answer.
    sure = settled or call.first_token is not None
    facts = {
        "x-penstock-tier": call.tier,
        "x-penstock-pool": call.pool if sure else None,
        "x-penstock-region": call.region if sure else None,
        "x-penstock-cache": CACHED[made.recall.result] if made.recall else None,
        "x-penstock-cache-decision": "; ".join(f"{name}={value}" for name, value in looked.items()) or None,
        "x-penstock-guard": FOUND[made.guard.action] if made.guard and made.guard.action else None,
        "x-penstock-leak": FOUND[made.leak.action] if made.leak else None,
        "x-penstock-scrubbed": ",".join(f"{kind}={n}" for kind, n in sorted(scrubbed.items())) or "none",
        "x-penstock-complexity": made.route.trail.get("score") if made.route else None,
        "x-penstock-route": _decision(made.route),
        "x-penstock-call": call.id,
        "x-penstock-max-tokens": call.clamped,
        "x-penstock-cost": call.cost if settled else None,
    }
    facts |= {old: facts[new] for old, new in RENAMED.items()}
    return {name: str(v) for name, v in facts.items() if v is not None} | rate_limits(call.windows)


def _decision(route: RouteDecision | None) -> str | None:
    """Why this tier, of an `auto` call: `score=0.0312; above=0; by=score`."""
    if route is None or route.by is None or route.score is None:
        return None
    return f"score={round(route.score, 4)}; above={route.threshold:g}; by={route.by}"


class Stamp:
    """Outermost middleware: `x-request-id`, `openai-processing-ms` and `openai-version` on every answer,
    and a 500 in OpenAI's shape where a handler broke. `X-Client-Request-Id` comes back as it was sent.

    sends_id: False where a proxy in front sends the `x-request-id` that it gave the request.
    """

    def __init__(self, app: ASGIApp, *, sends_id: bool = True) -> None:
        self._app = app
        self._sends_id = sends_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        scope.setdefault("state", {})
        request_id = _sent(scope, b"x-request-id") or f"req_{secrets.token_hex(16)}"
        served = REQUEST_ID.set(request_id)
        client_id = _sent(scope, b"x-client-request-id")
        begun = whole = False

        async def stamped(message: Message) -> None:
            nonlocal begun, whole
            whole = message["type"] == "http.response.body" and not message.get("more_body")
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                if self._sends_id:
                    headers["x-request-id"] = request_id
                if client_id:
                    headers["x-client-request-id"] = client_id
                headers["openai-version"] = VERSION
                if ignored := scope["state"].get("ignored"):
                    headers[IGNORED] = ignored
                headers["openai-processing-ms"] = str(round((time.perf_counter() - started) * 1000))
            await send(message)

        try:
            await self._app(scope, receive, stamped)
        except Exception as error:
            # Its message may quote the request: the log gets where it happened, the client an id to quote.
            log.error("%s %s: %s\n%s", scope["path"], request_id, type(error).__name__, _frames(error))  # noqa: TRY400
            if whole:  # the app has told the client
                return
            if begun:
                raise
            await error_for(scope, errors.internal())(scope, receive, stamped)
        finally:
            REQUEST_ID.reset(served)


def _sent(scope: Scope, name: bytes) -> str:
    """A header's value when it is safe to log and to send back, else empty."""
    value = next((v for k, v in scope["headers"] if k == name), b"").decode("latin-1")
    return value if _SAFE_ID.fullmatch(value) else ""


def _frames(error: Exception) -> str:
    return "".join(traceback.format_tb(error.__traceback__))
