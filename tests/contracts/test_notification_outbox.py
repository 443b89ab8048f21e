"""Notices and webhooks on real databases: told once, to whom it concerns, by one gateway of many."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import insert, select

from app.audit.records import OPERATOR
from app.core.ports import Notice
from app.core.refusals import LedgerError
from app.db.schema import audit, tenants, webhooks
from app.db.store import Store
from app.installation.secrets import Secrets
from app.notifications.dispatcher import Dispatcher, message_id
from app.notifications.outbox import ATTEMPTS, Delivery, NotificationOutbox, backoff, post
from tests.contracts.ledger_kit import START, Clock
from tests.kit import until
from tests.notifications.test_dispatcher import Receiver, sending

SECRETS = Secrets("the secret of an installation for tests")
URL = "https://hooks.example.org/T000/very-secret-path"


def notice(number: int = 1, tenant: str = "acme", kind: str = "budget.threshold") -> Notice:
    return Notice(f"{kind}/{tenant}/{number}", START + number, kind, tenant, {"percent": 80})


async def tell(store: Store, *posted: Notice) -> None:
    await store.write(lambda connection: post(connection, posted))


async def make_tenant(store: Store, name: str) -> None:
    values = {"id": name, "name": name, "plan": "unlimited", "terms": {}, "keeps_content": False, "created": START}
    await store.write(lambda connection: connection.execute(insert(tenants).values(values)))


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    made = Store(database_url)
    yield made
    await made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def notices(store: Store, clock: Clock) -> NotificationOutbox:
    return NotificationOutbox(store, SECRETS, clock)


async def rows(store: Store, table: Any) -> Sequence[Any]:
    return await store.read(lambda connection: connection.execute(select(table)).all())


async def test_a_notice_posted_twice_is_told_once(store: Store, notices: NotificationOutbox) -> None:
    await notices.add_webhook(URL, None, [], "admin")
    await tell(store, notice(1), notice(1))
    assert [notice(1)] == await notices.spread()
    await tell(store, notice(1))
    assert [] == await notices.spread()
    assert [notice(1)] == [one.notice for one in await notices.claim(10)]


async def test_a_notice_of_a_transaction_that_fails_is_never_told(store: Store, notices: NotificationOutbox) -> None:
    def fail(connection: Any) -> None:
        post(connection, [notice()])
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await store.write(fail)
    assert [] == await notices.spread()


async def test_posting_nothing_writes_nothing(store: Store, notices: NotificationOutbox) -> None:
    await tell(store)
    assert not await notices.waiting()


async def test_a_notice_goes_to_its_tenants_webhooks_and_the_operators_that_want_its_kind(
    store: Store, notices: NotificationOutbox
) -> None:
    for tenant in ("acme", "other"):
        await make_tenant(store, tenant)
    wanted = [
        (await notices.add_webhook(URL, tenant, events, "admin"))[0]
        for tenant, events in [("acme", []), (None, []), ("acme", ["tenant.paused", "budget.threshold"])]
    ]
    for tenant, events in [("other", []), ("acme", ["tenant.paused"]), (None, ["key.suspended"])]:
        await notices.add_webhook(URL, tenant, events, "admin")
    await tell(store, notice())
    await notices.spread()
    assert sorted(wanted) == sorted(one.webhook for one in await notices.claim(10))


async def test_gateways_that_claim_together_share_the_deliveries_without_a_double(
    store: Store, notices: NotificationOutbox, clock: Clock, database_url: str
) -> None:
    for _ in range(8):
        await notices.add_webhook(URL, None, [], "admin")
    stores = [Store(database_url) for _ in range(4)]
    gateways = [NotificationOutbox(one, SECRETS, clock) for one in stores]
    await asyncio.gather(*(gateway.waiting() for gateway in gateways))  # connected, so that they really meet
    spread: list[Notice] = []
    claimed: list[Delivery] = []
    for number in range(10):
        await tell(store, notice(number))
        for new in await asyncio.gather(*(gateway.spread() for gateway in gateways)):
            spread += new
        for _ in range(4):
            for batch in await asyncio.gather(*(gateway.claim(3) for gateway in gateways)):
                claimed += batch
    await asyncio.gather(*(one.close() for one in stores))
    assert [notice(number) for number in range(10)] == spread
    assert {1} == set(Counter((one.notice.id, one.webhook) for one in claimed).values())
    assert 80 == len(claimed)


async def test_two_dispatchers_on_one_database_send_each_notice_once(
    store: Store, notices: NotificationOutbox, database_url: str
) -> None:
    told: list[str] = []
    many = [notice(number) for number in range(20)]
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(Receiver().up())
        for url in (receiver.url, receiver.url):
            await notices.add_webhook(url, None, [], "admin")
        for _ in range(2):
            other = Store(database_url)
            stack.push_async_callback(other.close)
            own = NotificationOutbox(other, SECRETS)
            await stack.enter_async_context(sending(Dispatcher(own, told.append, poll=0.05, allow_private=True)))
        await tell(store, *many)
        await until(lambda: len(told) == 40, 20)
        await asyncio.sleep(0.3)
    assert {message_id(one): 2 for one in many} == Counter(receiver.ids)
    assert ["delivered"] * 40 == told


async def test_a_delivery_whose_gateway_died_is_due_again_after_its_lease(
    store: Store, notices: NotificationOutbox, clock: Clock
) -> None:
    await notices.add_webhook(URL, None, [], "admin")
    await tell(store, notice())
    await notices.spread()
    [lost] = await notices.claim(10, lease=60)
    clock.now += 59
    assert (False, []) == (await notices.waiting(), await notices.claim(10))
    clock.now += 1
    assert await notices.waiting()
    [again] = await notices.claim(10)
    await notices.delivered(again)
    assert not await notices.failed(lost, "late news")
    [(_, [sent])] = await notices.history()
    assert (2, None, clock.now, None) == (sent.attempts, sent.due, sent.delivered, sent.error)


async def test_a_claim_takes_one_delivery_of_a_webhook_and_none_of_a_busy_one(
    store: Store, notices: NotificationOutbox
) -> None:
    first, _ = await notices.add_webhook(URL, None, [], "admin")
    second, _ = await notices.add_webhook(URL, None, [], "admin")
    await tell(store, *(notice(number) for number in range(5)))
    await notices.spread()
    assert {first: 1, second: 1} == Counter(one.webhook for one in await notices.claim(10))
    assert [second] == [one.webhook for one in await notices.claim(10, busy=[first])]


async def test_failures_wait_ever_longer_and_end_within_a_day(
    store: Store, notices: NotificationOutbox, clock: Clock
) -> None:
    await notices.add_webhook(URL, None, [], "admin")
    await tell(store, notice())
    await notices.spread()
    pauses, given_up = [], False
    while not given_up:
        [delivery] = await notices.claim(1)
        given_up = await notices.failed(delivery, f"HTTP {500 + delivery.attempts}")
        [(_, [sent])] = await notices.history()
        pauses.append((sent.due or clock.now) - clock.now)
        clock.now += pauses[-1]
    assert pauses[:-1] == sorted(pauses[:-1])
    assert 18 * 3600 < clock.now - START <= 24 * 3600
    assert (ATTEMPTS, None, None, f"HTTP {500 + ATTEMPTS}") == (sent.attempts, sent.due, sent.delivered, sent.error)
    assert not await notices.waiting()


def test_even_the_longest_scatter_ends_within_a_day() -> None:
    longest = [max(backoff(attempts) or 0 for _ in range(200)) for attempts in range(1, ATTEMPTS)]
    assert sum(longest) <= 24 * 3600
    assert backoff(ATTEMPTS) is None
    assert len({backoff(3) for _ in range(20)}) > 1


async def test_a_rotated_secret_signs_beside_the_new_one_for_a_day(
    store: Store, notices: NotificationOutbox, clock: Clock
) -> None:
    id_, old = await notices.add_webhook(URL, None, [], "admin")
    new = await notices.rotate(id_, "admin")
    newest = await notices.rotate(id_, "admin")
    await tell(store, notice())
    await notices.spread()
    [delivery] = await notices.claim(1)
    assert (newest, new) == notices.secrets_of(delivery)
    clock.now += 86_400
    assert (newest,) == notices.secrets_of(delivery)
    assert old not in (new, newest)


async def test_a_removed_webhook_is_sent_nothing_more_and_its_secret_is_gone(
    store: Store, notices: NotificationOutbox
) -> None:
    id_, _ = await notices.add_webhook(URL, None, [], "admin")
    await tell(store, notice(1))
    await notices.spread()
    await notices.remove_webhook(id_, "admin")
    await tell(store, notice(2))
    await notices.spread()
    assert ([], []) == (await notices.claim(10), await notices.webhooks())
    assert not await notices.waiting()
    [row] = await rows(store, webhooks)
    assert b"" == row.secret
    [(_, nothing), (_, [dropped])] = await notices.history()
    assert ([], "the webhook was removed") == (nothing, dropped.error)


async def test_a_secret_is_shown_once_and_stored_sealed(store: Store, notices: NotificationOutbox) -> None:
    id_, secret = await notices.add_webhook(URL, None, ["tenant.paused"], "admin")
    [shown] = await notices.webhooks()
    assert (id_, None, URL, ("tenant.paused",), START) == (
        shown.id, shown.tenant, shown.url, shown.events, shown.created
    )  # fmt: skip
    [row] = await rows(store, webhooks)
    assert secret.startswith("whsec_")
    assert secret.encode() not in row.secret


async def test_what_admins_do_to_webhooks_is_in_the_audit_chain_of_whom_it_concerns(
    store: Store, notices: NotificationOutbox
) -> None:
    await make_tenant(store, "acme")
    own, _ = await notices.add_webhook(URL, "acme", [], "key_1")
    ours, _ = await notices.add_webhook(URL, None, [], "cli")
    await notices.rotate(own, "admin")
    await notices.remove_webhook(own, "admin")
    found = [(row.chain, row.kind, row.actor, row.subject) for row in await rows(store, audit)]
    assert [
        (OPERATOR, "webhook.create", "cli", ours),
        ("acme", "webhook.create", "key_1", own),
        ("acme", "webhook.remove", "admin", own),
        ("acme", "webhook.rotate", "admin", own),
    ] == sorted(found)
    assert not any("very-secret-path" in row.data for row in await rows(store, audit))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/", "file:///etc/passwd", "https://", "host.example.org/hook", "https://user:pw@host/",
        "https://host:99999/", "https://ho st/", "https://[::1/", "https://host/\nx", "",
    ],
)  # fmt: skip
async def test_a_url_that_cannot_be_used_is_refused(sqlite_url: str, url: str) -> None:
    store = Store(sqlite_url)
    with pytest.raises(LedgerError, match="url is not usable"):
        await NotificationOutbox(store, SECRETS).add_webhook(url, None, [], "admin")
    await store.close()


async def test_unknown_tenants_kinds_and_webhooks_are_refused_and_leave_nothing(
    store: Store, notices: NotificationOutbox
) -> None:
    with pytest.raises(LedgerError, match="no tenant `nobody`"):
        await notices.add_webhook(URL, "nobody", [], "admin")
    with pytest.raises(LedgerError, match="`budget threshold` is no kind"):
        await notices.add_webhook(URL, None, ["budget threshold"], "admin")
    for gone in (notices.rotate, notices.remove_webhook):
        with pytest.raises(LedgerError, match="no webhook `wh_none`"):
            await gone("wh_none", "admin")
    assert ([], []) == (await rows(store, webhooks), await rows(store, audit))


async def test_history_is_newest_first_and_can_be_one_tenants(store: Store, notices: NotificationOutbox) -> None:
    await tell(store, notice(1), notice(2, "other"), notice(3))
    assert [notice(3), notice(2, "other")] == [told for told, _ in await notices.history(2)]
    assert [notice(3), notice(1)] == [told for told, _ in await notices.history(tenant="acme")]
