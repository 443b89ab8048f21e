"""The Authenticator port: the fake, SQLite and a real PostgreSQL behave alike; and what only the SQL one does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.core.terms import Terms
from tests.contracts.ledger_kit import SqlWorld, World, sql_world, world_of


@pytest.fixture(params=["fake", "sqlite", "postgres"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    url = "" if request.param == "fake" else request.getfixturevalue(f"{request.param}_url")
    async with world_of(request.param, url) as made:
        yield made


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[SqlWorld]:
    async with sql_world(database_url) as made:
        yield made


async def test_a_live_key_names_its_tenant_project_and_limits(world: World) -> None:
    who = await world.caller(Terms(requests_per_minute=60), project=Terms(tokens_per_day=9), tenant=Terms())
    assert ("acme", "web") == (who.tenant, who.project)
    assert {(f"key:{who.key_id}", 60), ("project:web", 9)} == {(limit.owner, limit.amount) for limit in who.limits}
    assert who.owners == ("tenant:acme", "project:web", f"key:{who.key_id}")


async def test_an_unknown_key_is_nobody(world: World) -> None:
    await world.caller()
    assert await world.authenticator.identify("sk-wrong") is None
    assert await world.authenticator.identify("") is None


# -- on SQL -------------------------------------------------------------------------------------


async def test_a_disabled_key_is_dead_in_every_gateway_within_a_second(database: SqlWorld, database_url: str) -> None:
    who = await database.caller()
    async with sql_world(database_url, database.clock) as other:
        assert who == await other.authenticator.identify(database.keys[0])
        await database.admin_service.disable_key(who.key_id, actor="test")
        assert await database.authenticator.identify(database.keys[0]) is None
        database.clock.now += 1
        assert await other.authenticator.identify(database.keys[0]) is None


async def test_a_key_is_nobodys_once_it_expired(database: SqlWorld) -> None:
    who = await database.caller()
    await database.admin_service.update_key(who.key_id, {"expires": database.clock.now + 0.5}, actor="test")
    assert await database.authenticator.identify(database.keys[0]) is not None
    database.clock.now += 0.5
    assert await database.authenticator.identify(database.keys[0]) is None


async def test_the_keys_of_an_erased_tenant_are_dead(database: SqlWorld) -> None:
    await database.caller()
    # the admin service erases much more than this
    erased = "UPDATE tenants SET erased = 1 WHERE id = 'acme'"
    await database.ledger.store.write(lambda connection: connection.exec_driver_sql(erased))
    database.authenticator.forget()
    assert await database.authenticator.identify(database.keys[0]) is None


async def test_guessing_keys_fills_no_memory(database: SqlWorld) -> None:
    await database.caller()
    for start in range(0, 12_000, 4_000):
        guesses = (database.authenticator.identify(f"sk-{n}") for n in range(start, start + 4_000))
        assert {None} == set(await asyncio.gather(*guesses))
    assert len(database.authenticator._known) <= 10_000
    assert await database.authenticator.identify(database.keys[0]) is not None


async def test_a_key_longer_than_any_is_nobodys_without_a_look(database: SqlWorld) -> None:
    assert await database.authenticator.identify("sk-" + "x" * 10_000_000) is None
    assert not database.authenticator._known


async def test_a_caller_may_do_what_every_level_allows(database: SqlWorld) -> None:
    await database.admin_service.set_plan("basic", Terms(price_list="cheap", max_output_tokens=500), actor="test")
    await database.admin_service.create_tenant(
        "acme", plan="basic", terms=Terms(regions=["eu", "us"], service_tier="priority"), actor="test"
    )
    who = await database.caller(
        Terms(models=["small", "auto"], context_length=100), project=Terms(regions=["eu"], models=["small", "large"])
    )
    assert (500, 100) == (who.max_output_tokens, who.context_length)
    assert ({"small"}, {"eu"}) == (who.models, who.regions)
    assert ("cheap", "priority") == (who.price_list, who.service_tier)
