"""The dispatcher against real receivers on free ports: signed, told once, retried with the same id."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.core.ports import Notice
from app.core.refusals import LedgerError
from app.db.store import Store
from app.installation.secrets import Secrets
from app.notifications.dispatcher import Dispatcher, message_id, sign, verify
from app.notifications.outbox import NotificationOutbox, post
from tests.contracts.ledger_kit import START, Clock
from tests.kit import free_port, until

SECRETS = Secrets("the secret of an installation for tests")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def notice(number: int = 1, tenant: str = "acme") -> Notice:
    return Notice(f"budget/{tenant}/{number}", START, "budget.threshold", tenant, {"percent": 80})


class Receiver:
    """A real HTTP server. statuses: what to answer, in turn, the last one for ever. pause: seconds before it does."""

    def __init__(self, *statuses: int, pause: float = 0.0) -> None:
        self.port = free_port()
        self.pause = pause
        self.running = self.peak = 0
        self.url = f"http://127.0.0.1:{self.port}/hook"
        self.statuses = list(statuses or (204,))
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.elsewhere = 0

    async def hook(self, request: Request) -> Response:
        self.running += 1
        self.peak = max(self.peak, self.running)
        await asyncio.sleep(self.pause)
        self.running -= 1
        self.got.append((dict(request.headers), await request.body()))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return Response(status_code=status, headers={"location": "/other"} if status == 302 else None)

    async def other(self, _: Request) -> Response:
        self.elsewhere += 1
        return Response(status_code=204)

    @asynccontextmanager
    async def up(self) -> AsyncIterator[Receiver]:
        app = Starlette(routes=[Route(path, self.hook if path == "/hook" else self.other, methods=["GET", "POST"])
                                for path in ("/hook", "/other")])  # fmt: skip
        server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", self.port, log_level="error", lifespan="off"))
        task = asyncio.create_task(server.serve())
        await until(lambda: server.started)
        try:
            yield self
        finally:
            server.should_exit = True
            await task

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]


@asynccontextmanager
async def sending(dispatcher: Dispatcher) -> AsyncIterator[None]:
    """The dispatcher at work."""
    task = asyncio.create_task(dispatcher.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await dispatcher.close()


class Setup:
    """One database's notices, and a dispatcher whose outcomes are kept."""

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self.store = Store(url)
        self.notices = NotificationOutbox(self.store, SECRETS, self.clock)
        self.told: list[str] = []
        self.dispatcher = Dispatcher(self.notices, self.told.append, poll=0.05, clock=self.clock, allow_private=True)

    async def post(self, *posted: Notice) -> None:
        await self.store.write(lambda connection: post(connection, posted))

    async def add(self, url: str) -> str:
        _, secret = await self.notices.add_webhook(url, None, [], "admin")
        return secret


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    made = Setup(f"sqlite:///{tmp_path}/ledger.db")
    yield made
    await made.dispatcher.close()
    await made.store.close()


def test_the_signature_is_the_specifications() -> None:
    signed = sign(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.binary(max_size=50), st.binary(min_size=1, max_size=5), st.integers(-400, 400))
def test_only_the_signed_bytes_verify_and_only_for_five_minutes(body: bytes, more: bytes, late: int) -> None:
    headers = {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": "1000",
        "Webhook-Signature": sign(SECRET, "msg_1", 1000, body),
    }
    assert verify(SECRET, headers, body, now=1000 + late) is (abs(late) <= 300)
    assert verify(SECRET, headers, body + more, now=1000) is False
    assert verify("whsec_AAAA", headers, body, now=1000) is False


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_request_without_a_header_of_the_specification_does_not_verify(missing: str) -> None:
    headers = {"webhook-id": "m", "webhook-timestamp": "1000", "webhook-signature": sign(SECRET, "m", 1000, b"")}
    assert verify(SECRET, headers, b"", now=1000)
    assert not verify(SECRET, {name: value for name, value in headers.items() if name != missing}, b"", now=1000)


async def test_a_receiver_that_is_down_then_broken_then_well_gets_the_notice_once(setup: Setup) -> None:
    receiver = Receiver(500, 200)
    secret = await setup.add(receiver.url)
    await setup.post(notice())
    assert await setup.dispatcher.once() == 1  # refused: nobody listens
    async with receiver.up():
        assert await setup.dispatcher.once() == 0  # not due yet
        for pause in (6, 11, 21, 41):
            setup.clock.now += pause
            await setup.dispatcher.once()
    assert setup.told == ["failed", "failed", "delivered"]
    (broken, first), (well, second) = receiver.got
    assert [message_id(notice())] * 2 == receiver.ids
    assert first == second
    assert verify(secret, well, second, now=START + 17)
    assert verify(secret, broken, first, now=START + 6)
    assert json.loads(second) == {
        "id": message_id(notice()),
        "type": "budget.threshold",
        "created": int(START),
        "data": {"tenant": "acme", "percent": 80},
    }


async def test_what_went_wrong_is_kept_until_it_arrives(setup: Setup) -> None:
    receiver = Receiver(500, 200)
    await setup.add(receiver.url)
    await setup.post(notice())
    async with receiver.up():
        await setup.dispatcher.once()
        [(_, [broken])] = await setup.notices.history()
        setup.clock.now += 6
        await setup.dispatcher.once()
        [(_, [well])] = await setup.notices.history()
    assert ("HTTP 500", None, 1) == (broken.error, broken.delivered, broken.attempts)
    assert (None, setup.clock.now, 2, None) == (well.error, well.delivered, well.attempts, well.due)


async def test_a_redirect_is_not_followed(setup: Setup) -> None:
    async with Receiver(302).up() as receiver:
        await setup.add(receiver.url)
        await setup.post(notice())
        await setup.dispatcher.once()
    [(_, [sent])] = await setup.notices.history()
    assert (["failed"], "HTTP 302", 0) == (setup.told, sent.error, receiver.elsewhere)


async def test_after_a_day_of_failures_a_delivery_is_given_up(setup: Setup) -> None:
    await setup.add(Receiver().url)
    await setup.post(notice())
    for _ in range(40):
        await setup.dispatcher.once()
        setup.clock.now += 43_200
    assert ["failed"] * 14 + ["given_up"] == setup.told


async def test_receivers_that_hang_or_refuse_do_not_hold_up_the_others(setup: Setup) -> None:
    hanging = await asyncio.start_server(lambda *_: asyncio.sleep(60), "127.0.0.1", 0)
    port = hanging.sockets[0].getsockname()[1]
    await setup.add(f"http://127.0.0.1:{port}/")
    await setup.add(Receiver().url)
    many = [notice(number) for number in range(5)]
    async with Receiver().up() as receiver:
        await setup.add(receiver.url)
        await setup.post(*many)
        async with sending(setup.dispatcher):
            await until(lambda: len(receiver.got) == 5, 30)
    hanging.close()
    assert sorted(map(message_id, many)) == sorted(receiver.ids)


async def test_a_nudge_sends_before_the_next_look(setup: Setup) -> None:
    slow = Dispatcher(setup.notices, setup.told.append, poll=60, clock=setup.clock, allow_private=True)
    async with Receiver().up() as receiver, sending(slow):
        await setup.add(receiver.url)
        await setup.post(notice())
        slow.nudge()
        await until(lambda: setup.told == ["delivered"], 30)


async def test_a_rotated_webhook_is_signed_with_both_secrets(setup: Setup) -> None:
    async with Receiver().up() as receiver:
        id_, old = await setup.notices.add_webhook(receiver.url, None, [], "admin")
        new = await setup.notices.rotate(id_, "admin")
        await setup.post(notice())
        await setup.dispatcher.once()
    [(headers, body)] = receiver.got
    assert old != new
    assert [True, True] == [verify(secret, headers, body, now=START) for secret in (old, new)]


async def test_a_notice_is_logged_once_and_the_secret_never(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with Receiver(500).up() as receiver:
        secret = await setup.add(receiver.url)
        await setup.post(notice())
        for _ in range(3):
            await setup.dispatcher.once()
            setup.clock.now += 60
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert ["notice budget.threshold of tenant acme: budget/acme/1"] == warned
    assert secret not in caplog.text


async def test_a_secret_that_cannot_be_opened_fails_only_its_own_delivery(setup: Setup) -> None:
    async with Receiver().up() as receiver:
        stranger = NotificationOutbox(setup.store, Secrets("the secret of another installation!"), setup.clock)
        theirs, _ = await stranger.add_webhook(receiver.url, None, [], "admin")
        with pytest.raises(LedgerError, match="PENSTOCK_SECRET"):
            await setup.notices.rotate(theirs, "admin")
        await setup.add(receiver.url)
        await setup.post(notice())
        await setup.dispatcher.once()
    [(_, sent)] = await setup.notices.history()
    assert ["delivered", "failed"] == sorted(setup.told)
    assert any("PENSTOCK_SECRET" in (one.error or "") for one in sent)


async def test_a_database_that_fails_for_a_moment_stops_no_dispatcher(setup: Setup) -> None:
    class Shaky(NotificationOutbox):
        asked = 0

        async def waiting(self) -> bool:
            self.asked += 1
            if self.asked == 1:
                raise LedgerError("away")
            return await super().waiting()

    shaky = Dispatcher(
        Shaky(setup.store, SECRETS, setup.clock), setup.told.append, poll=0.01, clock=setup.clock, allow_private=True
    )
    async with Receiver().up() as receiver:
        await setup.add(receiver.url)
        await setup.post(notice())
        async with sending(shaky):
            await until(lambda: setup.told == ["delivered"], 3)


async def test_a_webhook_is_sent_one_notice_at_a_time(setup: Setup) -> None:
    receiver = Receiver(pause=0.1)
    many = [notice(number) for number in range(4)]
    async with receiver.up():
        await setup.add(receiver.url)
        await setup.post(*many)
        async with sending(setup.dispatcher):
            await until(lambda: len(setup.told) == 4)
    assert (1, 4) == (receiver.peak, len(set(receiver.ids)))


async def test_a_dispatcher_that_is_stopped_lets_what_it_sends_arrive(setup: Setup) -> None:
    async with Receiver(pause=0.3).up() as receiver:
        await setup.add(receiver.url)
        await setup.post(notice())
        async with sending(Dispatcher(setup.notices, setup.told.append, clock=setup.clock, allow_private=True)):
            await until(lambda: receiver.peak)
        assert ["delivered"] == setup.told


async def test_a_receiver_in_a_private_network_is_sent_nothing_where_the_config_does_not_allow_it(setup: Setup) -> None:
    strict = Dispatcher(setup.notices, setup.told.append, clock=setup.clock)
    async with Receiver().up() as receiver:
        await setup.add(receiver.url)
        await setup.post(notice())
        assert 1 == await strict.once()
        assert (["failed"], []) == (setup.told, receiver.got)
    await strict.close()
