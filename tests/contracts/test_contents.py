"""What was said in calls: kept only where wanted, read only with the secret, gone when the tenant is erased."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, insert, select, update

from app.audit.contents import Contents
from app.audit.log import AuditLog
from app.audit.records import OPERATOR
from app.core.refusals import LedgerError, UnknownError
from app.db.schema import contents, deliveries, idempotency, keys, projects, tenants, webhooks
from app.db.store import Store
from app.installation.secrets import SealError, Secrets
from app.notifications.outbox import NotificationOutbox
from app.tenancy.erasure import Erased, erase
from tests.contracts.ledger_kit import SECRETS, START, SqlWorld, sql_world

SAID = b'{"messages": ["my name is Ada Lovelace"]}'


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[SqlWorld]:
    """Tenants acme and other, each with a key in the project web or none; acme's contents are kept."""
    async with sql_world(database_url) as made:
        await made.admin_service.create_tenant("acme", name="Ada Lovelace", actor="test")
        await made.admin_service.create_project("acme", "web", name="Ada's site", actor="test")
        await made.admin_service.create_key("acme", {"name": "Ada's key"}, project="web", actor="test")
        await made.caller(name="other")
        await kept(made).set_keeping("acme", True, "test")
        yield made


def kept(world: SqlWorld, secrets: Secrets = SECRETS) -> Contents:
    return Contents(world.ledger.store, secrets, world.clock)


async def column(world: SqlWorld, table: Table, name: str, *where: Any) -> list[Any]:
    return [getattr(row, name) for row in await world.rows(table, *where)]


async def test_what_was_kept_is_read_as_it_was(world: SqlWorld) -> None:
    await kept(world).keep("acme", "call_1", START, SAID)
    assert SAID == await kept(world).read("call_1")


async def test_nothing_is_kept_where_the_tenant_does_not_want_it(world: SqlWorld) -> None:
    await kept(world).keep("other", "call_1", START, SAID)
    await kept(world).keep("nobody", "call_2", START, SAID)
    assert [] == await world.rows(contents)
    assert [None] == await column(world, tenants, "data_key", tenants.c.id == "other")


async def test_a_call_that_was_not_kept_has_no_content(world: SqlWorld) -> None:
    assert await kept(world).read("call_1") is None


async def test_the_database_alone_does_not_tell_what_was_said(world: SqlWorld) -> None:
    await kept(world).keep("acme", "call_1", START, SAID)
    (body,) = await column(world, contents, "body")
    assert b"Ada" not in bytes(body)
    with pytest.raises(SealError):
        await kept(world, Secrets("another secret, also as long as one must be")).read("call_1")


async def test_one_calls_content_cannot_be_passed_off_as_anothers(world: SqlWorld) -> None:
    await kept(world).keep("acme", "call_1", START, SAID)
    await world.ledger.store.write(lambda c: c.execute(update(contents).values(call_id="call_2")))
    with pytest.raises(SealError):
        await kept(world).read("call_2")


async def test_the_same_call_again_is_kept_once(world: SqlWorld) -> None:
    await kept(world).keep("acme", "call_1", START, SAID)
    await kept(world).keep("acme", "call_1", START, b"else")
    assert SAID == await kept(world).read("call_1")


async def test_first_calls_at_once_over_two_gateways_share_one_data_key(world: SqlWorld, database_url: str) -> None:
    store = Store(database_url)
    both = [kept(world), Contents(store, SECRETS)]
    calls = [(one, f"call_{number}") for number in range(6) for one in both]
    await asyncio.gather(*(one.keep("acme", call, START, call.encode()) for one, call in calls))
    assert {f"call_{number}".encode() for number in range(6)} == {await both[1].read(call) for _, call in calls}
    await store.close()


async def test_contents_expire_by_when_their_call_began(world: SqlWorld) -> None:
    for number in range(3):
        await kept(world).keep("acme", f"call_{number}", START + number, SAID)
    assert 1 == await kept(world).expire(START + 1)
    assert ["call_1", "call_2"] == sorted(await column(world, contents, "call_id"))


async def test_a_switch_is_recorded_when_it_switches_and_only_then(world: SqlWorld) -> None:
    for keep in (True, False, False):
        await kept(world).set_keeping("acme", keep, "admin")
    records = await AuditLog(world.ledger.store, SECRETS).records("acme", "tenant.content")
    assert [("admin", True, False), ("test", False, True)] == [
        (one.actor, (data := json.loads(one.data))["old"], data["new"]) for one in records
    ]


async def test_what_was_kept_stays_when_no_more_is_kept(world: SqlWorld) -> None:
    await kept(world).keep("acme", "call_1", START, SAID)
    await kept(world).set_keeping("acme", False, "admin")
    await kept(world).keep("acme", "call_2", START, SAID)
    assert [SAID, None] == [await kept(world).read(call) for call in ("call_1", "call_2")]


async def test_a_tenant_that_is_none_cannot_be_switched(world: SqlWorld) -> None:
    with pytest.raises(UnknownError, match="There is no tenant `nobody`"):
        await kept(world).set_keeping("nobody", True, "admin")


# -- erase ---------------------------------------------------------------------------------------


async def fill(world: SqlWorld) -> None:
    """All that can be personal, of acme and of other."""
    store, at = world.ledger.store, world.clock()
    await kept(world).set_keeping("other", True, "test")
    notices = NotificationOutbox(store, SECRETS, world.clock)
    for name in ("acme", "other"):
        await kept(world).keep(name, f"{name}_call", at, SAID)
        hook, _ = await notices.add_webhook("https://203.0.113.1/ada", name, [], "test")
        (key,) = await column(world, keys, "id", keys.c.tenant == name)
        row = {"key_id": key, "token": "t", "digest": "d", "claim": "c", "response": b"Ada", "expires": at}
        due = {"notice": name, "webhook": hook, "attempts": 0, "due": at, "delivered": None, "error": None}
        await store.write(lambda c, row=row: c.execute(insert(idempotency).values(row)))
        await store.write(lambda c, due=due: c.execute(insert(deliveries).values(due)))


async def erased(world: SqlWorld) -> Erased:
    return await erase(world.ledger.store, SECRETS, "acme", "admin", START + 9)


async def test_an_erased_tenants_texts_names_and_webhooks_are_gone_and_nobody_elses(world: SqlWorld) -> None:
    await fill(world)
    await world.admin_service.pause("acme", "Ada asked for it", actor="test")
    assert Erased(contents=1, keys=1, webhooks=1) == await erased(world)
    assert ["other_call"] == await column(world, contents, "call_id")
    assert ["other"] == await column(world, webhooks, "tenant")
    assert ["other"] == await column(world, deliveries, "notice")
    assert 1 == len(await world.rows(idempotency))
    (tenant,) = await world.rows(tenants, tenants.c.id == "acme")
    said = (tenant.name, tenant.data_key, tenant.keeps_content, tenant.erased, tenant.paused_why)
    assert ("", None, False, START + 9, None) == said
    assert [("", True)] == [(key.name, key.disabled) for key in await world.rows(keys, keys.c.tenant == "acme")]
    assert [""] == await column(world, projects, "name", projects.c.tenant == "acme")
    assert [False] == await column(world, keys, "disabled", keys.c.tenant == "other")


async def test_no_text_with_a_persons_name_is_left_anywhere_of_an_erased_tenant(world: SqlWorld) -> None:
    await fill(world)
    await erased(world)

    def everything(connection: Any) -> str:
        tables = [table for table in tenants.metadata.sorted_tables if table.name not in {"contents", "idempotency"}]
        return "".join(str(row) for table in tables for row in connection.execute(select(table)))

    assert "Ada" not in await world.ledger.store.read(everything)


async def test_an_erasure_is_recorded_and_the_chain_and_the_bill_still_hold(world: SqlWorld) -> None:
    who = await world.caller()
    await world.settle(who, "call_1", "1.5")
    await erased(world)
    log = AuditLog(world.ledger.store, SECRETS)
    own, operators = [await log.records(chain, "tenant.erase", "acme") for chain in ("acme", OPERATOR)]
    assert [{"contents": 0, "keys": 2, "webhooks": 0}] * 2 == [json.loads(one.data) for one in (*own, *operators)]
    assert () == (await log.verify()).faults
    await world.balanced(who)


async def test_what_comes_in_after_the_erasure_is_not_kept(world: SqlWorld) -> None:
    await erased(world)
    await kept(world).keep("acme", "call_1", START, SAID)
    assert [] == await world.rows(contents)
    with pytest.raises(LedgerError):
        await kept(world).set_keeping("acme", True, "admin")


async def test_a_copy_of_the_rows_from_before_cannot_be_read_once_the_data_key_is_gone(world: SqlWorld) -> None:
    await kept(world).keep("acme", "call_1", START, SAID)
    (row,) = await world.rows(contents)
    await erased(world)
    await world.ledger.store.write(lambda c: c.execute(insert(contents).values(row._asdict())))
    assert await kept(world).read("call_1") is None


async def test_a_tenant_that_is_none_cannot_be_erased(world: SqlWorld) -> None:
    with pytest.raises(UnknownError, match="There is no tenant `nobody`"):
        await erase(world.ledger.store, SECRETS, "nobody", "admin", START)


async def test_no_byte_of_a_name_is_left_in_the_file(sqlite_url: str) -> None:
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    async with sql_world(sqlite_url) as world:
        await world.admin_service.create_tenant("acme", name="Ada Lovelace " * 50, actor="test")
    assert b"Ada Lovelace" in file.read_bytes()  # noqa: ASYNC240
    async with sql_world(sqlite_url) as world:
        # some builds of SQLite do so by themselves
        await world.ledger.store.write(lambda c: c.exec_driver_sql("PRAGMA secure_delete = OFF"))
        await erased(world)
    assert b"Ada Lovelace" not in file.read_bytes()  # noqa: ASYNC240
