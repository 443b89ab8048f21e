"""Kept responses on real databases: sealed, the tenant's alone, and gone after their time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select, update

from app.api.stored.responses import MONTH, Responses, StoredResponse
from app.core.owner import Owner
from app.core.refusals import LedgerError
from app.db.schema import responses, tenants
from app.db.store import Store
from app.installation.secrets import Secrets
from app.tenancy.admin import AdminService
from app.tenancy.erasure import erase
from tests.contracts.ledger_kit import START, Clock

ACME, OTHER, NOBODY = (Owner(tenant, "") for tenant in ("acme", "other", "nobody"))
NORTH, SOUTH = (Owner("acme", project) for project in ("proj_north", "proj_south"))
SECRETS = Secrets("the secret of an installation for tests")
ASKED = {"id": "msg_1", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "my code is 7"}]}


def kept(response_id: str = "resp_1", text: str = "noted") -> StoredResponse:
    said = {"id": "msg_2", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    return StoredResponse({"id": response_id, "output": [said]}, [ASKED])


@dataclass
class World:
    store: Store
    clock: Clock
    kept: Responses

    async def rows(self) -> list[Any]:
        return list(await self.store.read(lambda connection: connection.execute(select(responses)).all()))


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    store, clock = Store(database_url), Clock()
    admin_service = AdminService(store, SECRETS, clock)
    for tenant in ("acme", "other"):
        await admin_service.create_tenant(tenant, actor="test")
    yield World(store, clock, Responses(store, SECRETS, clock))
    await store.close()


async def test_what_was_kept_is_read_again_with_the_conversation_in_its_order(world: World) -> None:
    assert await world.kept.keep(ACME, kept())
    found = await world.kept.read(ACME, "resp_1")
    assert kept() == found
    assert found is not None
    assert ["msg_1", "msg_2"] == [item["id"] for item in found.conversation]


async def test_another_tenant_neither_reads_nor_deletes_nor_overwrites_it(world: World) -> None:
    await world.kept.keep(ACME, kept())
    assert await world.kept.read(OTHER, "resp_1") is None
    assert not await world.kept.delete(OTHER, "resp_1")
    await world.kept.keep(OTHER, kept(text="mine now"))
    assert kept() == await world.kept.read(ACME, "resp_1")
    assert await world.kept.read(OTHER, "resp_1") is None


@pytest.mark.parametrize(("mine", "others"), [(NORTH, (SOUTH, ACME)), (ACME, (NORTH, SOUTH))])
async def test_another_project_or_the_tenants_own_keys_neither_read_nor_delete_nor_overwrite_it(
    world: World, mine: Owner, others: tuple[Owner, ...]
) -> None:
    await world.kept.keep(mine, kept())
    for other in others:
        assert await world.kept.read(other, "resp_1") is None
        assert not await world.kept.delete(other, "resp_1")
        await world.kept.keep(other, kept(text="mine now"))
    assert kept() == await world.kept.read(mine, "resp_1")


@pytest.mark.parametrize("strange", ["resp_\0", "resp_\n", "resp_\x7f", "", "r" * 201, "resp_\ud800", "resp 1"])
async def test_what_is_no_id_is_not_there(world: World, strange: str) -> None:
    assert await world.kept.read(ACME, strange) is None
    assert not await world.kept.delete(ACME, strange)


async def test_nothing_that_was_said_stands_in_the_database_in_the_clear(world: World) -> None:
    await world.kept.keep(ACME, kept())
    (row,) = await world.rows()
    assert not [word for word in (b"my code is 7", b"noted", b"message") if word in bytes(row.body)]


async def test_a_line_that_is_run_again_replaces_its_response(world: World) -> None:
    for text in ("first", "second"):
        assert await world.kept.keep(ACME, kept(text=text))
    assert kept(text="second") == await world.kept.read(ACME, "resp_1")
    assert 1 == len(await world.rows())


async def test_a_deleted_response_is_gone_and_cannot_be_deleted_twice(world: World) -> None:
    await world.kept.keep(ACME, kept())
    assert [True, False] == [await world.kept.delete(ACME, "resp_1") for _ in range(2)]
    assert await world.kept.read(ACME, "resp_1") is None


async def test_it_is_kept_for_thirty_days_and_not_a_second_longer(world: World) -> None:
    await world.kept.keep(ACME, kept())
    world.clock.now = START + MONTH - 1
    assert 0 == await world.kept.expire()
    assert kept() == await world.kept.read(ACME, "resp_1")
    world.clock.now = START + MONTH
    assert await world.kept.read(ACME, "resp_1") is None
    assert not await world.kept.delete(ACME, "resp_1")
    assert 1 == await world.kept.expire()
    assert [] == await world.rows()


async def test_an_erased_tenants_responses_are_gone_and_none_is_kept_any_more(world: World) -> None:
    await world.kept.keep(ACME, kept())
    await world.kept.keep(OTHER, kept("resp_2"))
    await erase(world.store, SECRETS, "acme", "test", START)
    assert ["resp_2"] == [row.id for row in await world.rows()]
    assert not await world.kept.keep(ACME, kept())
    assert ["resp_2"] == [row.id for row in await world.rows()]


async def test_nothing_is_kept_for_a_tenant_that_there_is_not(world: World) -> None:
    assert not await world.kept.keep(NOBODY, kept())
    assert [] == await world.rows()


async def test_many_first_responses_at_once_share_one_data_key(world: World) -> None:
    ids = [f"resp_{n}" for n in range(8)]
    await asyncio.gather(*(world.kept.keep(ACME, kept(one)) for one in ids))
    assert [kept(one) for one in ids] == [await world.kept.read(ACME, one) for one in ids]


async def test_without_the_data_key_it_is_noise_and_with_another_secret_an_error(world: World) -> None:
    await world.kept.keep(ACME, kept())
    with pytest.raises(LedgerError, match="cannot be read"):
        await Responses(world.store, Secrets("another secret of another installation"), world.clock).read(
            ACME, "resp_1"
        )
    blank = update(tenants).values(data_key=None)
    await world.store.write(lambda connection: connection.execute(blank))
    assert await world.kept.read(ACME, "resp_1") is None


async def test_of_two_ends_the_first_stands_and_none_brings_a_deleted_response_back(world: World) -> None:
    begun = StoredResponse({"id": "resp_1", "status": "queued", "output": []}, [ASKED])
    await world.kept.keep(NORTH, begun)
    ends = [{**begun.response, "status": status} for status in ("cancelled", "completed")]
    assert await world.kept.end(SOUTH, ends[0]) is None
    for end in ends:
        assert StoredResponse(ends[0], [ASKED]) == await world.kept.end(NORTH, end)
    assert StoredResponse(ends[0], [ASKED]) == await world.kept.read(NORTH, "resp_1")
    await world.kept.delete(NORTH, "resp_1")
    assert await world.kept.end(NORTH, ends[1]) is None
    assert await world.kept.read(NORTH, "resp_1") is None
