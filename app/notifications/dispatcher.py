"""Send notices to webhooks, signed after the Standard Webhooks specification. outbox -> [Dispatcher] -> receivers.

At least once: a gateway that dies while it sends leaves the delivery to another. `webhook-id` is the same each time,
so a receiver knows a repetition.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

import httpx
import orjson

from app.core.ports import Notice, PortError
from app.core.refusals import UnfitError
from app.notifications.outbox import Delivery, NotificationOutbox
from app.notifications.targets import check_target

log = logging.getLogger(__name__)
PATIENCE = 10.0
"""Seconds that a receiver has to answer."""
_AT_ONCE = 64
_LINGER = 2.0


class Dispatcher:
    """One a gateway; of several on one database each delivery is sent by one. `run` it as a task.

    told: called with delivered | failed | given_up after each attempt. client: one's own. poll: seconds between looks
    at the database. A webhook is sent one notice at a time, so one that hangs delays nobody but itself.
    allow_private: whether receivers may be in private networks.
    """

    def __init__(
        self,
        notices: NotificationOutbox,
        told: Callable[[str], None],
        client: httpx.AsyncClient | None = None,
        poll: float = 1.0,
        clock: Callable[[], float] = time.time,
        *,
        allow_private: bool = False,
    ) -> None:
        self._allow_private = allow_private
        self._notices = notices
        self._told = told
        self._client = client or httpx.AsyncClient()
        self._poll = poll
        self._clock = clock
        self._wake = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}

    def nudge(self) -> None:
        """Look at once: something was posted."""
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled. A database that does not answer is asked again."""
        try:
            while True:
                self._wake.clear()
                try:
                    await self._start()
                except PortError as error:
                    log.error("notices wait: %s", error)  # noqa: TRY400 - the sentence says it all
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll):
                        await self._wake.wait()
        finally:
            await self._stop()

    async def once(self) -> int:
        """Try what is due, one delivery a webhook, to its end; return how many. Raises LedgerError."""
        started = await self._start()
        await asyncio.gather(*self._running.values())
        return started

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    async def _start(self) -> int:
        free = _AT_ONCE - len(self._running)
        if not free or not await self._notices.waiting():
            return 0
        for notice in await self._notices.spread():
            log.warning("notice %s of tenant %s: %s", notice.kind, notice.tenant, notice.id)
        claimed = await self._notices.claim(free, busy=list(self._running))
        for delivery in claimed:
            task = asyncio.create_task(self._deliver(delivery))
            self._running[delivery.webhook] = task
            task.add_done_callback(partial(self._left, delivery.webhook))
        return len(claimed)

    def _left(self, webhook: str, _: asyncio.Task[None]) -> None:
        del self._running[webhook]
        self._wake.set()  # the same webhook may have more

    async def _stop(self) -> None:
        if running := set(self._running.values()):
            _, late = await asyncio.wait(running, timeout=_LINGER)
            for task in late:
                task.cancel()

    async def _deliver(self, delivery: Delivery) -> None:
        error = await self._attempt(delivery)
        outcome = "delivered"
        try:
            if error is None:
                await self._notices.delivered(delivery)
            else:
                outcome = "given_up" if await self._notices.failed(delivery, error) else "failed"
        except PortError as lost:
            log.error("notice %s: %s", delivery.notice.id, lost)  # noqa: TRY400 - it is sent again after its lease
            return
        if outcome == "given_up":
            log.error("notice %s was not taken by webhook %s: %s", delivery.notice.id, delivery.webhook, error)
        self._told(outcome)

    async def _attempt(self, delivery: Delivery) -> str | None:
        """Why it did not arrive, or None when it did."""
        try:
            id_, sent, content = message_id(delivery.notice), int(self._clock()), body(delivery.notice)
            signatures = [sign(secret, id_, sent, content) for secret in self._notices.secrets_of(delivery)]
            headers = {
                "content-type": "application/json",
                "user-agent": "penstock-webhooks/1",
                "webhook-id": id_,
                "webhook-timestamp": str(sent),
                "webhook-signature": " ".join(signatures),
            }
            await check_target(delivery.url, allow_private=self._allow_private)
            async with (
                asyncio.timeout(PATIENCE),
                self._client.stream(
                    "POST", delivery.url, content=content, headers=headers, timeout=PATIENCE, follow_redirects=False
                ) as answer,
            ):
                return None if answer.is_success else f"HTTP {answer.status_code}"
        except (TimeoutError, httpx.TimeoutException):
            return f"no answer within {PATIENCE:g} s"
        except UnfitError:
            return "its host is in a private network, or this machine"
        except Exception as error:  # noqa: BLE001 - whatever it was, it is this delivery's alone
            return f"{type(error).__name__}: {error}"[:200]


def message_id(notice: Notice) -> str:
    """The `webhook-id`: of the notice's own id, which may hold what a header may not."""
    return f"msg_{hashlib.sha256(notice.id.encode()).hexdigest()[:32]}"


def body(notice: Notice) -> bytes:
    """What is sent: the same bytes at every attempt. created: Unix seconds."""
    data = {"tenant": notice.tenant, **notice.data}
    return orjson.dumps({"id": message_id(notice), "type": notice.kind, "created": int(notice.at), "data": data})


def sign(secret: str, id_: str, sent: int, content: bytes) -> str:
    """`v1,BASE64` of one secret (`whsec_...`). sent: Unix seconds, as in `webhook-timestamp`."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.digest(key, f"{id_}.{sent}.".encode() + content, "sha256")).decode()


def verify(
    secret: str, headers: Mapping[str, str], content: bytes, now: float | None = None, tolerance: float = 300.0
) -> bool:
    """For receivers: whether this request was signed with `secret`, within `tolerance` seconds of `now`."""
    given = {name.lower(): value for name, value in headers.items()}
    try:
        sent = int(given["webhook-timestamp"])
        expected = sign(secret, given["webhook-id"], sent, content).encode()
    except (KeyError, ValueError, binascii.Error):
        return False
    fresh = abs((time.time() if now is None else now) - sent) <= tolerance
    offered = given.get("webhook-signature", "").split()
    return fresh and any(hmac.compare_digest(expected, one.encode()) for one in offered)
