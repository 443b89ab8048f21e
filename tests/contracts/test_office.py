"""The office: tenants, projects, keys and budgets, each change one transaction with its audit record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from app.audit.records import OPERATOR, Record, sign
from app.billing.ledger.ledger import LedgerError, SqlLedger
from app.core.ports import Denied, Principal, Reservation, Safety
from app.core.terms import DEFAULT_PLANS, SafetyTerms, Terms
from app.db.refusals import TakenError, UnfitError, UnknownError
from app.db.schema import audit, keys, plans, tenants
from app.db.store import Store
from app.installation.secrets import Secrets
from app.tenancy.admin import Office
from app.tenancy.erasure import erase
from app.tenancy.plans import stored
from tests.contracts.ledger_kit import START, Clock, row

SECRETS = Secrets("an installation's secret, long enough")
MONTH = datetime.fromtimestamp(START, UTC).replace(day=1, hour=0, minute=0, second=0).timestamp()


@dataclass
class Desk:
    """An office and a ledger on one database."""

    store: Store
    clock: Clock = field(default_factory=Clock)
    office: Office = field(init=False)
    ledger: SqlLedger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = SqlLedger(self.store, SECRETS, self.clock)
        self.office = Office(self.store, SECRETS, self.clock, changed=self.ledger.forget)

    async def records(self, chain: str) -> list[tuple[str, str, Any]]:
        """Kind, subject and data of the chain's records, after every signature was checked."""
        query = select(audit).where(audit.c.chain == chain).order_by(audit.c.seq)
        found = [Record(*line) for line in await self.store.read(lambda c: c.execute(query).all())]
        before = "0" * 64
        for number, record in enumerate(found, 1):
            assert (number, sign(SECRETS.audit_key, before, replace(record, mac=""))) == (record.seq, record.mac)
            before = record.mac
        return [(record.kind, record.subject, json.loads(record.data)) for record in found]

    async def kinds(self, chain: str) -> list[str]:
        return [kind for kind, _, _ in await self.records(chain)]

    async def who(self, key: str) -> Principal:
        found = await self.ledger.identify(key)
        assert found is not None
        return found

    async def bill(self, key: str, call: str, cost: str) -> None:
        who = await self.who(key)
        await self.ledger.settle(replace(row(call, who, cost), project=who.project, created=self.clock()))


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    store = Store(database_url)
    yield Desk(store)
    await store.close()


# -- plans ---------------------------------------------------------------------------------------


async def test_a_new_database_has_the_default_plans(desk: Desk) -> None:
    assert {plan.id: plan.terms for plan in await desk.office.plans()} == dict(DEFAULT_PLANS)


async def test_two_offices_that_begin_at_once_write_the_plans_once(database_url: str) -> None:
    stores = [Store(database_url) for _ in range(2)]
    both = await asyncio.gather(*(Office(store, SECRETS).plans() for store in stores))
    assert [sorted(DEFAULT_PLANS)] * 2 == [[plan.id for plan in found] for found in both]
    for store in stores:
        await store.close()


async def test_a_database_that_has_plans_keeps_them(desk: Desk) -> None:
    mine = insert(plans).values(id="mine", terms={}, created=0)
    await desk.store.write(lambda c: c.execute(mine))
    assert ["mine"] == [plan.id for plan in await desk.office.plans()]


async def test_a_changed_plan_moves_the_budgets_of_its_tenants_alone(desk: Desk) -> None:
    office = desk.office
    await office.create_tenant("a", plan="free", actor="admin")
    await office.create_tenant("own", plan="free", terms=Terms(budget=Decimal(7)), actor="admin")
    await office.create_tenant("other", plan="pay-as-you-go", actor="admin")
    await office.set_plan("free", Terms(budget=Decimal(2), budget_period="day"), actor="admin")
    assert (Decimal(2), "day") == _budget(await office.balance("tenant:a"))
    assert (Decimal(7), "day") == _budget(await office.balance("tenant:own"))
    assert (Decimal(100), "month") == _budget(await office.balance("tenant:other"))
    assert ["plan.set"] == await desk.kinds(OPERATOR)


async def test_the_plan_without_limits_cannot_be_given_any(desk: Desk) -> None:
    with pytest.raises(UnfitError, match="choose another name"):
        await desk.office.set_plan("unlimited", Terms(requests_per_minute=1), actor="admin")


# -- tenants -------------------------------------------------------------------------------------


async def test_a_tenant_has_the_budget_of_its_plan_from_the_start_of_the_month(desk: Desk) -> None:
    await desk.office.create_tenant("acme", name="Acme", plan="free", actor="admin")
    balance = await desk.office.balance("tenant:acme")
    assert (Decimal(1), "month") == _budget(balance)
    assert balance.since == MONTH
    assert Decimal(1) == balance.left


async def test_a_tenants_own_terms_stand_over_its_plans(desk: Desk) -> None:
    await desk.office.create_tenant("acme", plan="free", terms=Terms(requests_per_minute=7), actor="admin")
    _, key = await desk.office.create_key("acme", actor="admin")
    limits = {limit.name: limit.amount for limit in (await desk.who(key)).limits}
    assert limits["requests/minute/*"] == 7
    assert limits["tokens/minute/*"] == 20_000


async def test_a_tenants_safety_stands_over_its_plans_field_by_field(desk: Desk) -> None:
    strict = SafetyTerms(injection="block", personal="redact", personal_types=["PERSON"])
    await desk.office.set_plan("strict", Terms(safety=strict), actor="admin")
    own = Terms(safety=SafetyTerms(injection="flag", personal_deny=["Project Apollo"]))
    await desk.office.create_tenant("acme", plan="strict", terms=own, actor="admin")
    _, key = await desk.office.create_key("acme", actor="admin")
    assert (
        Safety(
            injection="flag",
            personal="redact",
            personal_types=frozenset({"PERSON"}),
            personal_deny=frozenset({"Project Apollo"}),
        )
        == (await desk.who(key)).safety
    )


async def test_a_tenant_that_says_nothing_of_safety_is_treated_as_the_installation_does(desk: Desk) -> None:
    await desk.office.create_tenant("acme", plan="free", actor="admin")
    _, key = await desk.office.create_key("acme", actor="admin")
    assert Safety() == (await desk.who(key)).safety


async def test_texts_that_a_tenant_names_are_counted_in_the_audit_chain_and_gone_once_it_is_erased(desk: Desk) -> None:
    named = SafetyTerms(personal="hash", personal_allow=["Grace Hopper"], personal_deny=["Ada Lovelace", "Apollo"])
    await desk.office.create_tenant("acme", terms=Terms(safety=named), actor="admin")
    (_, _, created), *_ = await desk.records("acme")
    assert {"safety": {"personal": "hash", "personal_allow": 1, "personal_deny": 2}} == created["terms"]
    await erase(desk.store, SECRETS, "acme", "admin", START)
    assert {"safety": {"personal": "hash"}} == stored((await desk.office.tenant("acme")).terms)
    assert "Lovelace" not in str(await desk.records("acme"))


async def test_a_tenant_is_made_once(desk: Desk) -> None:
    await desk.office.create_tenant("acme", actor="admin")
    with pytest.raises(TakenError, match="There is a tenant `acme` already"):
        await desk.office.create_tenant("acme", actor="admin")
    await desk.office.ensure_tenant("acme", "another name")
    assert ["acme"] == [tenant.name for tenant in await desk.office.tenants()]
    assert ["tenant.create"] == await desk.kinds("acme")


@pytest.mark.parametrize("name", ["", "_operator", "a/b", "a:b", "a b", "ä", "x" * 65, "-x"])
async def test_a_name_that_cannot_stand_in_a_url_is_refused(desk: Desk, name: str) -> None:
    with pytest.raises(UnfitError, match="cannot be the id of a tenant"):
        await desk.office.create_tenant(name, actor="admin")


async def test_a_plan_that_does_not_exist_is_answered_with_those_that_do(desk: Desk) -> None:
    with pytest.raises(UnknownError, match="choose from enterprise, free, pay-as-you-go, unlimited"):
        await desk.office.create_tenant("acme", plan="gold", actor="admin")
    assert [] == await desk.office.tenants()


async def test_an_unknown_tenant_is_named_with_the_fix(desk: Desk) -> None:
    for attempt in (
        desk.office.tenant("nobody"),
        desk.office.create_key("nobody", actor="admin"),
        desk.office.create_project("nobody", "p", actor="admin"),
        desk.office.pause("nobody", "", actor="admin"),
        desk.office.ensure_key("sk-a-key-of-nobody's-at-all", "nobody"),
    ):
        with pytest.raises(UnknownError, match="no tenant `nobody`: create it first"):
            await attempt


async def test_a_set_budget_stands_until_the_terms_say_another(desk: Desk) -> None:
    office = desk.office
    await office.create_tenant("acme", plan="free", actor="admin")
    await office.set_budget("tenant:acme", Decimal(50), "month", actor="admin")
    await office.update_tenant("acme", {"name": "Acme", "terms": Terms(requests_per_minute=9)}, actor="admin")
    assert (Decimal(50), "month") == _budget(await office.balance("tenant:acme"))
    await office.update_tenant("acme", {"plan": "enterprise"}, actor="admin")
    assert (None, "total") == _budget(await office.balance("tenant:acme"))


async def test_a_paused_tenant_is_seen_as_such_until_it_is_resumed(desk: Desk) -> None:
    office = desk.office
    await office.create_tenant("acme", actor="admin")
    _, key = await office.create_key("acme", actor="admin")
    await office.pause("acme", "unpaid", actor="admin")
    assert "unpaid" == (await desk.who(key)).paused
    await office.resume("acme", actor="admin")
    assert "" == (await desk.who(key)).paused
    await office.pause("acme", "for a minute", START + 60, actor="admin")
    assert "for a minute" == (await desk.who(key)).paused
    desk.clock.now += 61
    assert "" == (await desk.who(key)).paused


async def test_an_erased_tenant_is_not_brought_back(desk: Desk) -> None:
    await desk.office.create_tenant("acme", actor="admin")
    await desk.store.write(lambda c: c.execute(update(tenants).values(erased=START)))
    for attempt in (
        desk.office.create_key("acme", actor="admin"),
        desk.office.update_tenant("acme", {"name": "Ada"}, actor="admin"),
    ):
        with pytest.raises(TakenError, match="was erased"):
            await attempt


# -- projects ------------------------------------------------------------------------------------


async def test_a_projects_terms_and_budget_hold_for_its_keys(desk: Desk) -> None:
    await desk.office.create_tenant("acme", actor="admin")
    terms = Terms(requests_per_minute=3, budget=Decimal("0.5"))
    await desk.office.create_project("acme", "web", terms=terms, actor="admin")
    _, key = await desk.office.create_key("acme", project="web", actor="admin")
    who = await desk.who(key)
    assert {("project:web", 3)} == {(limit.owner, limit.amount) for limit in who.limits}
    denied = await desk.ledger.reserve(who, "call", 1, Decimal("0.6"))
    assert isinstance(denied, Denied)
    assert ("budget", "project:web") == (denied.reason, denied.owner)


async def test_a_project_id_is_taken_once_over_all_tenants(desk: Desk) -> None:
    for tenant in ("acme", "globex"):
        await desk.office.create_tenant(tenant, actor="admin")
    await desk.office.create_project("acme", "web", actor="admin")
    with pytest.raises(TakenError, match="a project `web` already"):
        await desk.office.create_project("globex", "web", actor="admin")
    with pytest.raises(UnfitError, match="belongs to tenant `acme`, not `globex`"):
        await desk.office.create_key("globex", project="web", actor="admin")


async def test_the_keys_of_an_archived_project_are_dead_and_no_new_ones_are_made(desk: Desk) -> None:
    await desk.office.create_tenant("acme", actor="admin")
    await desk.office.create_project("acme", "web", actor="admin")
    _, key = await desk.office.create_key("acme", project="web", actor="admin")
    await desk.office.update_project("web", {"archived": True}, actor="admin")
    assert await desk.ledger.identify(key) is None
    with pytest.raises(TakenError, match="is archived"):
        await desk.office.create_key("acme", project="web", actor="admin")


# -- keys ----------------------------------------------------------------------------------------


async def test_a_key_is_kept_as_its_hash_alone(desk: Desk) -> None:
    await desk.office.create_tenant("acme", actor="admin")
    made, key = await desk.office.create_key("acme", {"name": "ci"}, actor="admin")
    stored = await desk.store.read(lambda c: c.execute(select(keys)).one())
    recorded = await desk.records("acme")
    assert key not in str(stored) + str(recorded)
    assert key[:7] + "..." == made.prefix
    assert "ci" not in str(recorded)


async def test_a_key_lives_under_its_scopes_terms_and_expiry(desk: Desk) -> None:
    await desk.office.create_tenant("acme", actor="admin")
    about = {"scopes": frozenset({"chat"}), "terms": Terms(tokens_per_day=5), "expires": START + 10}
    _, key = await desk.office.create_key("acme", about, actor="admin")  # type: ignore[arg-type]
    who = await desk.who(key)
    assert frozenset({"chat"}) == who.scopes
    assert ["tokens/day/*"] == [limit.name for limit in who.limits]
    desk.clock.now += 10
    assert await desk.ledger.identify(key) is None


async def test_a_scope_that_does_not_exist_is_answered_with_those_that_do(desk: Desk) -> None:
    await desk.office.create_tenant("acme", actor="admin")
    with pytest.raises(UnfitError, match="no scope `cat`: choose from batches, chat"):
        await desk.office.create_key("acme", {"scopes": frozenset({"cat"})}, actor="admin")
    assert [] == await desk.office.keys()


async def test_a_disabled_key_is_dead_at_once_and_its_disabling_is_recorded_once(desk: Desk) -> None:
    await desk.office.create_tenant("acme", actor="admin")
    made, key = await desk.office.create_key("acme", actor="admin")
    await desk.who(key)
    for _ in range(2):
        await desk.office.disable_key(made.id, actor="admin")
    assert await desk.ledger.identify(key) is None
    assert ["tenant.create", "key.create", "key.disable"] == await desk.kinds("acme")


async def test_a_rotated_key_works_beside_the_new_one_until_the_overlap_ends(desk: Desk) -> None:
    await desk.office.create_tenant("acme", actor="admin")
    made, old = await desk.office.create_key("acme", {"name": "ci", "scopes": frozenset({"chat"})}, actor="admin")
    new_key, new = await desk.office.rotate_key(made.id, 60, actor="admin")
    assert ("ci", frozenset({"chat"}), None) == (new_key.name, new_key.scopes, new_key.expires)
    assert made.id == (await desk.who(old)).key_id
    assert new_key.id == (await desk.who(new)).key_id
    desk.clock.now += 60
    assert await desk.ledger.identify(old) is None
    assert await desk.ledger.identify(new) is not None


async def test_a_rotated_key_does_not_get_its_budget_anew(desk: Desk) -> None:
    await desk.office.create_tenant("acme", actor="admin")
    made, old = await desk.office.create_key("acme", {"terms": Terms(budget=Decimal(1))}, actor="admin")
    await desk.office.set_budget(f"key:{made.id}", Decimal(2), actor="admin")
    await desk.bill(old, "call", "1.5")
    new_key, new = await desk.office.rotate_key(made.id, actor="admin")
    balance = await desk.office.balance(f"key:{new_key.id}")
    assert (Decimal("0.5"), Decimal(0)) == (balance.left, balance.spent)
    assert isinstance(await desk.ledger.reserve(await desk.who(new), "a", 1, Decimal("0.6")), Denied)
    assert isinstance(await desk.ledger.reserve(await desk.who(new), "b", 1, Decimal("0.5")), Reservation)


@pytest.mark.parametrize("state", ["disabled", "suspended", "expired"])
async def test_rotation_brings_no_dead_key_back(desk: Desk, state: str) -> None:
    dead: dict[str, Any] = {"disabled": True, "suspended": "3 strikes", "expired": START}
    await desk.office.create_tenant("acme", actor="admin")
    made, _ = await desk.office.create_key("acme", actor="admin")
    column = {"expired": "expires"}.get(state, state)
    await desk.store.write(lambda c: c.execute(update(keys).values({column: dead[state]})))
    with pytest.raises(TakenError, match=f"is {state}: "):
        await desk.office.rotate_key(made.id, actor="admin")


async def test_reinstating_lifts_suspension_and_throttle_and_forgives_the_strikes_before(desk: Desk) -> None:
    await desk.office.create_tenant("acme", actor="admin")
    made, key = await desk.office.create_key("acme", actor="admin")
    bad = {"suspended": "9 strikes", "throttled_until": START + 900, "throttle_rpm": 6}
    await desk.store.write(lambda c: c.execute(update(keys).values(bad)))
    assert ("suspended", "9 strikes") == (
        (await desk.office.key(made.id)).state(START),
        (await desk.who(key)).suspended,
    )
    desk.clock.now += 5
    again = await desk.office.reinstate_key(made.id, actor="admin")
    assert ("live", START + 5) == (again.state(desk.clock()), again.forgiven)
    assert ("", ()) == ((await desk.who(key)).suspended, (await desk.who(key)).limits)


async def test_a_development_key_is_made_once_and_follows_its_terms(desk: Desk) -> None:
    await desk.office.ensure_tenant("development")
    for rpm in (5, 5, 6):
        await desk.office.ensure_key("sk-dev-key", "development", Terms(requests_per_minute=rpm))
    assert [6] == [limit.amount for limit in (await desk.who("sk-dev-key")).limits]
    assert ["tenant.create", "key.create", "key.update"] == await desk.kinds("development")


async def test_a_disabled_development_key_stays_disabled(desk: Desk) -> None:
    await desk.office.ensure_tenant("development")
    made = await desk.office.ensure_key("sk-dev-key", "development")
    await desk.office.disable_key(made.id, actor="admin")
    await desk.office.ensure_key("sk-dev-key", "development", Terms(requests_per_minute=1))
    assert await desk.ledger.identify("sk-dev-key") is None


async def test_a_key_is_never_given_to_another_tenant(desk: Desk) -> None:
    for tenant in ("acme", "globex"):
        await desk.office.ensure_tenant(tenant)
    await desk.office.ensure_key("sk-dev-key", "acme")
    with pytest.raises(TakenError, match="belongs to tenant `acme`, not `globex`"):
        await desk.office.ensure_key("sk-dev-key", "globex")


async def test_gateways_that_start_at_once_make_one_development_key(database_url: str) -> None:
    stores = [Store(database_url) for _ in range(3)]

    async def start(store: Store) -> str:
        office = Office(store, SECRETS)
        await office.ensure_tenant("development")
        return (await office.ensure_key("sk-dev-key", "development")).id

    assert 1 == len(set(await asyncio.gather(*(start(store) for store in stores))))
    assert ["tenant.create", "key.create"] == await Desk(stores[0]).kinds("development")
    for store in stores:
        await store.close()


async def test_keys_are_listed_page_by_page_oldest_first(desk: Desk) -> None:
    await desk.office.create_tenant("acme", actor="admin")
    made = []
    for number in range(5):
        desk.clock.now += number % 2  # two of them in the same moment
        made.append((await desk.office.create_key("acme", actor="admin"))[0])
    expected = [key.id for key in sorted(made, key=lambda key: (key.created, key.id))]
    first = await desk.office.keys("acme", limit=2)
    second = await desk.office.keys("acme", limit=9, after=first[-1].id)
    assert expected == [key.id for key in (*first, *second)]


# -- money ---------------------------------------------------------------------------------------


async def test_a_budget_that_is_set_is_enforced(desk: Desk) -> None:
    await desk.office.create_tenant("acme", actor="admin")
    _, key = await desk.office.create_key("acme", actor="admin")
    await desk.office.set_budget("tenant:acme", Decimal("0.25"), actor="admin")
    assert isinstance(await desk.ledger.reserve(await desk.who(key), "a", 1, Decimal("0.3")), Denied)
    assert isinstance(await desk.ledger.reserve(await desk.who(key), "b", 1, Decimal("0.2")), Reservation)
    balance = await desk.office.balance("tenant:acme")
    assert (Decimal("0.2"), Decimal("0.05")) == (balance.reserved, balance.left)


async def test_a_budget_by_the_month_counts_what_this_month_has_spent(desk: Desk) -> None:
    await desk.office.create_tenant("acme", actor="admin")
    await desk.office.create_project("acme", "web", actor="admin")
    made, key = await desk.office.create_key("acme", project="web", actor="admin")
    desk.clock.now = MONTH - 60
    await desk.bill(key, "last month's", "3")
    desk.clock.now = START
    await desk.bill(key, "this month's", "2")
    for account in ("tenant:acme", "project:web", f"key:{made.id}"):
        balance = await desk.office.set_budget(account, Decimal(10), "month", actor="admin")
        assert (MONTH, Decimal(2), Decimal(5)) == (balance.since, balance.period_spent, balance.spent)
        assert balance == await desk.office.balance(account)
    total = await desk.office.set_budget("tenant:acme", Decimal(10), "total", actor="admin")
    assert (0.0, Decimal(5)) == (total.since, total.period_spent)


async def test_a_new_period_is_seen_before_its_first_call(desk: Desk) -> None:
    await desk.office.create_tenant("acme", terms=Terms(budget=Decimal(1), budget_period="day"), actor="admin")
    _, key = await desk.office.create_key("acme", actor="admin")
    await desk.bill(key, "call", "0.75")
    assert Decimal("0.25") == (await desk.office.balance("tenant:acme")).left
    desk.clock.now += 86_400
    balance = await desk.office.balance("tenant:acme")
    assert (Decimal(1), Decimal(0), Decimal("0.75")) == (balance.left, balance.period_spent, balance.spent)


async def test_a_budget_change_is_recorded_with_the_old_and_the_new(desk: Desk) -> None:
    await desk.office.create_tenant("acme", actor="admin")
    await desk.office.set_budget("tenant:acme", Decimal(5), actor="admin")
    kind, subject, data = (await desk.records("acme"))[-1]
    assert ("budget.set", "tenant:acme", {"budget": [None, "5"]}) == (kind, subject, data)


async def test_what_cannot_be_a_budget_is_refused(desk: Desk) -> None:
    await desk.office.create_tenant("acme", actor="admin")
    with pytest.raises(UnfitError, match="below 0"):
        await desk.office.set_budget("tenant:acme", Decimal(-1), actor="admin")
    with pytest.raises(UnknownError, match="no account `acme`: name it `tenant:ID`"):
        await desk.office.set_budget("acme", Decimal(1), actor="admin")


async def test_usage_is_listed_newest_first_page_by_page_to_the_nano(desk: Desk) -> None:
    for tenant in ("acme", "globex"):
        await desk.office.create_tenant(tenant, actor="admin")
    _, mine = await desk.office.create_key("acme", actor="admin")
    _, theirs = await desk.office.create_key("globex", actor="admin")
    for number in range(4):
        desk.clock.now += number % 2
        await desk.bill(mine, f"call-{number}", "0.000000001")
    await desk.bill(theirs, "other", "1")
    first = await desk.office.usage_rows("acme", limit=3)
    rest = await desk.office.usage_rows("acme", after=first[-1].id)
    assert ["call-3", "call-1", "call-2", "call-0"] == [line.id for line in (*first, *rest)]
    assert Decimal("1E-9") == first[0].cost
    assert 5 == len(await desk.office.usage_rows())


# -- proof ---------------------------------------------------------------------------------------


async def test_an_update_is_recorded_by_field_without_names(desk: Desk) -> None:
    await desk.office.create_tenant("acme", name="Ada Lovelace", actor="admin")
    await desk.office.update_tenant(
        "acme", {"name": "Grace Hopper", "plan": "free", "terms": Terms(budget=Decimal("1.5"))}, actor="key_1"
    )
    records = await desk.records("acme")
    assert {
        "name": ["not recorded", "not recorded"],
        "plan": ["unlimited", "free"],
        "terms": [{}, {"budget": "1.5"}],
    } == records[-1][2]
    assert "Lovelace" not in str(records)
    assert "Hopper" not in str(records)


async def test_a_change_that_fails_leaves_no_record(desk: Desk) -> None:
    await desk.office.create_tenant("acme", actor="admin")
    with pytest.raises(UnknownError):
        await desk.office.update_tenant("acme", {"plan": "gold"}, actor="admin")
    assert ["tenant.create"] == await desk.kinds("acme")


async def test_an_office_with_another_secret_writes_nothing_into_the_chain(desk: Desk) -> None:
    await desk.office.create_tenant("acme", actor="admin")
    stranger = Office(desk.store, Secrets("another installation's secret, as long"), desk.clock)
    with pytest.raises(LedgerError, match="set PENSTOCK_SECRET to the one that its gateways have"):
        await stranger.create_tenant("globex", actor="admin")
    assert ["acme"] == [tenant.id for tenant in await desk.office.tenants()]


async def test_changes_of_one_tenant_at_once_are_all_made_and_recorded_in_turn(database_url: str) -> None:
    stores = [Store(database_url) for _ in range(2)]
    offices = [Office(store, SECRETS) for store in stores]
    await offices[0].create_tenant("acme", actor="admin")
    await asyncio.gather(*(office.create_key("acme", actor="admin") for office in offices * 5))
    assert ["tenant.create", *["key.create"] * 10] == await Desk(stores[0]).kinds("acme")
    assert 10 == len(await offices[0].keys("acme"))
    for store in stores:
        await store.close()


def _budget(balance: Any) -> tuple[Decimal | None, str]:
    return balance.budget, balance.period
