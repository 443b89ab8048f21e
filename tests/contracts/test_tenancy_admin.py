"""The admin service: tenants, projects, keys and budgets, each change one transaction with its audit record."""

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
from app.billing.ledger.ledger import SqlLedger
from app.core.ports import Denied, Principal, Reservation, Safety
from app.core.refusals import LedgerError, TakenError, UnfitError, UnknownError
from app.core.terms import DEFAULT_PLANS, SafetyTerms, Terms
from app.db.schema import audit, keys, plans, tenants
from app.db.store import Store
from app.installation.secrets import Secrets
from app.tenancy.admin import AdminService
from app.tenancy.authenticator import Authenticator
from app.tenancy.erasure import erase
from app.tenancy.model import stored
from tests.contracts.ledger_kit import START, Clock, row

SECRETS = Secrets("an installation's secret, long enough")
MONTH = datetime.fromtimestamp(START, UTC).replace(day=1, hour=0, minute=0, second=0).timestamp()


@dataclass
class Setup:
    """An office and a ledger on one database."""

    store: Store
    clock: Clock = field(default_factory=Clock)
    admin_service: AdminService = field(init=False)
    ledger: SqlLedger = field(init=False)
    authenticator: Authenticator = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = SqlLedger(self.store, SECRETS, self.clock)
        self.authenticator = Authenticator(self.store, self.clock)
        self.admin_service = AdminService(self.store, SECRETS, self.clock, changed=self.authenticator.forget)

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
        found = await self.authenticator.identify(key)
        assert found is not None
        return found

    async def bill(self, key: str, call: str, cost: str) -> None:
        who = await self.who(key)
        await self.ledger.settle(replace(row(call, who, cost), project=who.project, created=self.clock()))


@pytest.fixture
async def setup(database_url: str) -> AsyncIterator[Setup]:
    store = Store(database_url)
    yield Setup(store)
    await store.close()


# -- plans ---------------------------------------------------------------------------------------


async def test_a_new_database_has_the_default_plans(setup: Setup) -> None:
    assert {plan.id: plan.terms for plan in await setup.admin_service.plans()} == dict(DEFAULT_PLANS)


async def test_two_offices_that_begin_at_once_write_the_plans_once(database_url: str) -> None:
    stores = [Store(database_url) for _ in range(2)]
    both = await asyncio.gather(*(AdminService(store, SECRETS).plans() for store in stores))
    assert [sorted(DEFAULT_PLANS)] * 2 == [[plan.id for plan in found] for found in both]
    for store in stores:
        await store.close()


async def test_a_database_that_has_plans_keeps_them(setup: Setup) -> None:
    mine = insert(plans).values(id="mine", terms={}, created=0)
    await setup.store.write(lambda c: c.execute(mine))
    assert ["mine"] == [plan.id for plan in await setup.admin_service.plans()]


async def test_a_changed_plan_moves_the_budgets_of_its_tenants_alone(setup: Setup) -> None:
    admin_service = setup.admin_service
    await admin_service.create_tenant("a", plan="free", actor="admin")
    await admin_service.create_tenant("own", plan="free", terms=Terms(budget=Decimal(7)), actor="admin")
    await admin_service.create_tenant("other", plan="pay-as-you-go", actor="admin")
    await admin_service.set_plan("free", Terms(budget=Decimal(2), budget_period="day"), actor="admin")
    assert (Decimal(2), "day") == _budget(await admin_service.balance("tenant:a"))
    assert (Decimal(7), "day") == _budget(await admin_service.balance("tenant:own"))
    assert (Decimal(100), "month") == _budget(await admin_service.balance("tenant:other"))
    assert ["plan.set"] == await setup.kinds(OPERATOR)


async def test_the_plan_without_limits_cannot_be_given_any(setup: Setup) -> None:
    with pytest.raises(UnfitError, match="choose another name"):
        await setup.admin_service.set_plan("unlimited", Terms(requests_per_minute=1), actor="admin")


# -- tenants -------------------------------------------------------------------------------------


async def test_a_tenant_has_the_budget_of_its_plan_from_the_start_of_the_month(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", name="Acme", plan="free", actor="admin")
    balance = await setup.admin_service.balance("tenant:acme")
    assert (Decimal(1), "month") == _budget(balance)
    assert balance.since == MONTH
    assert Decimal(1) == balance.left


async def test_a_tenants_own_terms_stand_over_its_plans(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", plan="free", terms=Terms(requests_per_minute=7), actor="admin")
    _, key = await setup.admin_service.create_key("acme", actor="admin")
    limits = {limit.name: limit.amount for limit in (await setup.who(key)).limits}
    assert limits["requests/minute/*"] == 7
    assert limits["tokens/minute/*"] == 20_000


async def test_a_tenants_safety_stands_over_its_plans_field_by_field(setup: Setup) -> None:
    strict = SafetyTerms(injection="block", personal="redact", personal_types=["PERSON"])
    await setup.admin_service.set_plan("strict", Terms(safety=strict), actor="admin")
    own = Terms(safety=SafetyTerms(injection="flag", personal_deny=["Project Apollo"]))
    await setup.admin_service.create_tenant("acme", plan="strict", terms=own, actor="admin")
    _, key = await setup.admin_service.create_key("acme", actor="admin")
    assert (
        Safety(
            injection="flag",
            personal="redact",
            personal_types=frozenset({"PERSON"}),
            personal_deny=frozenset({"Project Apollo"}),
        )
        == (await setup.who(key)).safety
    )


async def test_a_tenant_that_says_nothing_of_safety_is_treated_as_the_installation_does(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", plan="free", actor="admin")
    _, key = await setup.admin_service.create_key("acme", actor="admin")
    assert Safety() == (await setup.who(key)).safety


async def test_texts_that_a_tenant_names_are_counted_in_the_audit_chain_and_gone_once_it_is_erased(
    setup: Setup,
) -> None:
    named = SafetyTerms(personal="hash", personal_allow=["Grace Hopper"], personal_deny=["Ada Lovelace", "Apollo"])
    await setup.admin_service.create_tenant("acme", terms=Terms(safety=named), actor="admin")
    (_, _, created), *_ = await setup.records("acme")
    assert {"safety": {"personal": "hash", "personal_allow": 1, "personal_deny": 2}} == created["terms"]
    await erase(setup.store, SECRETS, "acme", "admin", START)
    assert {"safety": {"personal": "hash"}} == stored((await setup.admin_service.tenant("acme")).terms)
    assert "Lovelace" not in str(await setup.records("acme"))


async def test_a_tenant_is_made_once(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", actor="admin")
    with pytest.raises(TakenError, match="There is a tenant `acme` already"):
        await setup.admin_service.create_tenant("acme", actor="admin")
    await setup.admin_service.ensure_tenant("acme", "another name")
    assert ["acme"] == [tenant.name for tenant in await setup.admin_service.tenants()]
    assert ["tenant.create"] == await setup.kinds("acme")


@pytest.mark.parametrize("name", ["", "_operator", "a/b", "a:b", "a b", "ä", "x" * 65, "-x"])
async def test_a_name_that_cannot_stand_in_a_url_is_refused(setup: Setup, name: str) -> None:
    with pytest.raises(UnfitError, match="cannot be the id of a tenant"):
        await setup.admin_service.create_tenant(name, actor="admin")


async def test_a_plan_that_does_not_exist_is_answered_with_those_that_do(setup: Setup) -> None:
    with pytest.raises(UnknownError, match="choose from enterprise, free, pay-as-you-go, unlimited"):
        await setup.admin_service.create_tenant("acme", plan="gold", actor="admin")
    assert [] == await setup.admin_service.tenants()


async def test_an_unknown_tenant_is_named_with_the_fix(setup: Setup) -> None:
    for attempt in (
        setup.admin_service.tenant("nobody"),
        setup.admin_service.create_key("nobody", actor="admin"),
        setup.admin_service.create_project("nobody", "p", actor="admin"),
        setup.admin_service.pause("nobody", "", actor="admin"),
        setup.admin_service.ensure_key("sk-a-key-of-nobody's-at-all", "nobody"),
    ):
        with pytest.raises(UnknownError, match="no tenant `nobody`: create it first"):
            await attempt


async def test_a_set_budget_stands_until_the_terms_say_another(setup: Setup) -> None:
    admin_service = setup.admin_service
    await admin_service.create_tenant("acme", plan="free", actor="admin")
    await admin_service.set_budget("tenant:acme", Decimal(50), "month", actor="admin")
    await admin_service.update_tenant("acme", {"name": "Acme", "terms": Terms(requests_per_minute=9)}, actor="admin")
    assert (Decimal(50), "month") == _budget(await admin_service.balance("tenant:acme"))
    await admin_service.update_tenant("acme", {"plan": "enterprise"}, actor="admin")
    assert (None, "total") == _budget(await admin_service.balance("tenant:acme"))


async def test_a_paused_tenant_is_seen_as_such_until_it_is_resumed(setup: Setup) -> None:
    admin_service = setup.admin_service
    await admin_service.create_tenant("acme", actor="admin")
    _, key = await admin_service.create_key("acme", actor="admin")
    await admin_service.pause("acme", "unpaid", actor="admin")
    assert "unpaid" == (await setup.who(key)).paused
    await admin_service.resume("acme", actor="admin")
    assert "" == (await setup.who(key)).paused
    await admin_service.pause("acme", "for a minute", START + 60, actor="admin")
    assert "for a minute" == (await setup.who(key)).paused
    setup.clock.now += 61
    assert "" == (await setup.who(key)).paused


async def test_an_erased_tenant_is_not_brought_back(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", actor="admin")
    await setup.store.write(lambda c: c.execute(update(tenants).values(erased=START)))
    for attempt in (
        setup.admin_service.create_key("acme", actor="admin"),
        setup.admin_service.update_tenant("acme", {"name": "Ada"}, actor="admin"),
    ):
        with pytest.raises(TakenError, match="was erased"):
            await attempt


# -- projects ------------------------------------------------------------------------------------


async def test_a_projects_terms_and_budget_hold_for_its_keys(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", actor="admin")
    terms = Terms(requests_per_minute=3, budget=Decimal("0.5"))
    await setup.admin_service.create_project("acme", "web", terms=terms, actor="admin")
    _, key = await setup.admin_service.create_key("acme", project="web", actor="admin")
    who = await setup.who(key)
    assert {("project:web", 3)} == {(limit.owner, limit.amount) for limit in who.limits}
    denied = await setup.ledger.reserve(who, "call", 1, Decimal("0.6"))
    assert isinstance(denied, Denied)
    assert ("budget", "project:web") == (denied.reason, denied.owner)


async def test_a_project_id_is_taken_once_over_all_tenants(setup: Setup) -> None:
    for tenant in ("acme", "globex"):
        await setup.admin_service.create_tenant(tenant, actor="admin")
    await setup.admin_service.create_project("acme", "web", actor="admin")
    with pytest.raises(TakenError, match="a project `web` already"):
        await setup.admin_service.create_project("globex", "web", actor="admin")
    with pytest.raises(UnfitError, match="belongs to tenant `acme`, not `globex`"):
        await setup.admin_service.create_key("globex", project="web", actor="admin")


async def test_the_keys_of_an_archived_project_are_dead_and_no_new_ones_are_made(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", actor="admin")
    await setup.admin_service.create_project("acme", "web", actor="admin")
    _, key = await setup.admin_service.create_key("acme", project="web", actor="admin")
    await setup.admin_service.update_project("web", {"archived": True}, actor="admin")
    assert await setup.authenticator.identify(key) is None
    with pytest.raises(TakenError, match="is archived"):
        await setup.admin_service.create_key("acme", project="web", actor="admin")


# -- keys ----------------------------------------------------------------------------------------


async def test_a_key_is_kept_as_its_hash_alone(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", actor="admin")
    made, key = await setup.admin_service.create_key("acme", {"name": "ci"}, actor="admin")
    stored = await setup.store.read(lambda c: c.execute(select(keys)).one())
    recorded = await setup.records("acme")
    assert key not in str(stored) + str(recorded)
    assert key[:7] + "..." == made.prefix
    assert "ci" not in str(recorded)


async def test_a_key_lives_under_its_scopes_terms_and_expiry(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", actor="admin")
    about = {"scopes": frozenset({"chat"}), "terms": Terms(tokens_per_day=5), "expires": START + 10}
    _, key = await setup.admin_service.create_key("acme", about, actor="admin")  # type: ignore[arg-type]
    who = await setup.who(key)
    assert frozenset({"chat"}) == who.scopes
    assert ["tokens/day/*"] == [limit.name for limit in who.limits]
    setup.clock.now += 10
    assert await setup.authenticator.identify(key) is None


async def test_a_scope_that_does_not_exist_is_answered_with_those_that_do(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", actor="admin")
    with pytest.raises(UnfitError, match="no scope `cat`: choose from batches, chat"):
        await setup.admin_service.create_key("acme", {"scopes": frozenset({"cat"})}, actor="admin")
    assert [] == await setup.admin_service.keys()


async def test_a_disabled_key_is_dead_at_once_and_its_disabling_is_recorded_once(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", actor="admin")
    made, key = await setup.admin_service.create_key("acme", actor="admin")
    await setup.who(key)
    for _ in range(2):
        await setup.admin_service.disable_key(made.id, actor="admin")
    assert await setup.authenticator.identify(key) is None
    assert ["tenant.create", "key.create", "key.disable"] == await setup.kinds("acme")


async def test_a_rotated_key_works_beside_the_new_one_until_the_overlap_ends(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", actor="admin")
    made, old = await setup.admin_service.create_key(
        "acme", {"name": "ci", "scopes": frozenset({"chat"})}, actor="admin"
    )
    new_key, new = await setup.admin_service.rotate_key(made.id, 60, actor="admin")
    assert ("ci", frozenset({"chat"}), None) == (new_key.name, new_key.scopes, new_key.expires)
    assert made.id == (await setup.who(old)).key_id
    assert new_key.id == (await setup.who(new)).key_id
    setup.clock.now += 60
    assert await setup.authenticator.identify(old) is None
    assert await setup.authenticator.identify(new) is not None


async def test_a_rotated_key_does_not_get_its_budget_anew(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", actor="admin")
    made, old = await setup.admin_service.create_key("acme", {"terms": Terms(budget=Decimal(1))}, actor="admin")
    await setup.admin_service.set_budget(f"key:{made.id}", Decimal(2), actor="admin")
    await setup.bill(old, "call", "1.5")
    new_key, new = await setup.admin_service.rotate_key(made.id, actor="admin")
    balance = await setup.admin_service.balance(f"key:{new_key.id}")
    assert (Decimal("0.5"), Decimal(0)) == (balance.left, balance.spent)
    assert isinstance(await setup.ledger.reserve(await setup.who(new), "a", 1, Decimal("0.6")), Denied)
    assert isinstance(await setup.ledger.reserve(await setup.who(new), "b", 1, Decimal("0.5")), Reservation)


@pytest.mark.parametrize("state", ["disabled", "suspended", "expired"])
async def test_rotation_brings_no_dead_key_back(setup: Setup, state: str) -> None:
    dead: dict[str, Any] = {"disabled": True, "suspended": "3 strikes", "expired": START}
    await setup.admin_service.create_tenant("acme", actor="admin")
    made, _ = await setup.admin_service.create_key("acme", actor="admin")
    column = {"expired": "expires"}.get(state, state)
    await setup.store.write(lambda c: c.execute(update(keys).values({column: dead[state]})))
    with pytest.raises(TakenError, match=f"is {state}: "):
        await setup.admin_service.rotate_key(made.id, actor="admin")


async def test_reinstating_lifts_suspension_and_throttle_and_forgives_the_strikes_before(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", actor="admin")
    made, key = await setup.admin_service.create_key("acme", actor="admin")
    bad = {"suspended": "9 strikes", "throttled_until": START + 900, "throttle_rpm": 6}
    await setup.store.write(lambda c: c.execute(update(keys).values(bad)))
    assert ("suspended", "9 strikes") == (
        (await setup.admin_service.key(made.id)).state(START),
        (await setup.who(key)).suspended,
    )
    setup.clock.now += 5
    again = await setup.admin_service.reinstate_key(made.id, actor="admin")
    assert ("live", START + 5) == (again.state(setup.clock()), again.forgiven)
    assert ("", ()) == ((await setup.who(key)).suspended, (await setup.who(key)).limits)


async def test_a_development_key_is_made_once_and_follows_its_terms(setup: Setup) -> None:
    await setup.admin_service.ensure_tenant("development")
    for rpm in (5, 5, 6):
        await setup.admin_service.ensure_key("sk-dev-key", "development", Terms(requests_per_minute=rpm))
    assert [6] == [limit.amount for limit in (await setup.who("sk-dev-key")).limits]
    assert ["tenant.create", "key.create", "key.update"] == await setup.kinds("development")


async def test_a_disabled_development_key_stays_disabled(setup: Setup) -> None:
    await setup.admin_service.ensure_tenant("development")
    made = await setup.admin_service.ensure_key("sk-dev-key", "development")
    await setup.admin_service.disable_key(made.id, actor="admin")
    await setup.admin_service.ensure_key("sk-dev-key", "development", Terms(requests_per_minute=1))
    assert await setup.authenticator.identify("sk-dev-key") is None


async def test_a_key_is_never_given_to_another_tenant(setup: Setup) -> None:
    for tenant in ("acme", "globex"):
        await setup.admin_service.ensure_tenant(tenant)
    await setup.admin_service.ensure_key("sk-dev-key", "acme")
    with pytest.raises(TakenError, match="belongs to tenant `acme`, not `globex`"):
        await setup.admin_service.ensure_key("sk-dev-key", "globex")


async def test_gateways_that_start_at_once_make_one_development_key(database_url: str) -> None:
    stores = [Store(database_url) for _ in range(3)]

    async def start(store: Store) -> str:
        admin_service = AdminService(store, SECRETS)
        await admin_service.ensure_tenant("development")
        return (await admin_service.ensure_key("sk-dev-key", "development")).id

    assert 1 == len(set(await asyncio.gather(*(start(store) for store in stores))))
    assert ["tenant.create", "key.create"] == await Setup(stores[0]).kinds("development")
    for store in stores:
        await store.close()


async def test_keys_are_listed_page_by_page_oldest_first(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", actor="admin")
    made = []
    for number in range(5):
        setup.clock.now += number % 2  # two of them in the same moment
        made.append((await setup.admin_service.create_key("acme", actor="admin"))[0])
    expected = [key.id for key in sorted(made, key=lambda key: (key.created, key.id))]
    first = await setup.admin_service.keys("acme", limit=2)
    second = await setup.admin_service.keys("acme", limit=9, after=first[-1].id)
    assert expected == [key.id for key in (*first, *second)]


# -- money ---------------------------------------------------------------------------------------


async def test_a_budget_that_is_set_is_enforced(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", actor="admin")
    _, key = await setup.admin_service.create_key("acme", actor="admin")
    await setup.admin_service.set_budget("tenant:acme", Decimal("0.25"), actor="admin")
    assert isinstance(await setup.ledger.reserve(await setup.who(key), "a", 1, Decimal("0.3")), Denied)
    assert isinstance(await setup.ledger.reserve(await setup.who(key), "b", 1, Decimal("0.2")), Reservation)
    balance = await setup.admin_service.balance("tenant:acme")
    assert (Decimal("0.2"), Decimal("0.05")) == (balance.reserved, balance.left)


async def test_a_budget_by_the_month_counts_what_this_month_has_spent(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", actor="admin")
    await setup.admin_service.create_project("acme", "web", actor="admin")
    made, key = await setup.admin_service.create_key("acme", project="web", actor="admin")
    setup.clock.now = MONTH - 60
    await setup.bill(key, "last month's", "3")
    setup.clock.now = START
    await setup.bill(key, "this month's", "2")
    for account in ("tenant:acme", "project:web", f"key:{made.id}"):
        balance = await setup.admin_service.set_budget(account, Decimal(10), "month", actor="admin")
        assert (MONTH, Decimal(2), Decimal(5)) == (balance.since, balance.period_spent, balance.spent)
        assert balance == await setup.admin_service.balance(account)
    total = await setup.admin_service.set_budget("tenant:acme", Decimal(10), "total", actor="admin")
    assert (0.0, Decimal(5)) == (total.since, total.period_spent)


async def test_a_new_period_is_seen_before_its_first_call(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", terms=Terms(budget=Decimal(1), budget_period="day"), actor="admin")
    _, key = await setup.admin_service.create_key("acme", actor="admin")
    await setup.bill(key, "call", "0.75")
    assert Decimal("0.25") == (await setup.admin_service.balance("tenant:acme")).left
    setup.clock.now += 86_400
    balance = await setup.admin_service.balance("tenant:acme")
    assert (Decimal(1), Decimal(0), Decimal("0.75")) == (balance.left, balance.period_spent, balance.spent)


async def test_a_budget_change_is_recorded_with_the_old_and_the_new(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", actor="admin")
    await setup.admin_service.set_budget("tenant:acme", Decimal(5), actor="admin")
    kind, subject, data = (await setup.records("acme"))[-1]
    assert ("budget.set", "tenant:acme", {"budget": [None, "5"]}) == (kind, subject, data)


async def test_what_cannot_be_a_budget_is_refused(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", actor="admin")
    with pytest.raises(UnfitError, match="below 0"):
        await setup.admin_service.set_budget("tenant:acme", Decimal(-1), actor="admin")
    with pytest.raises(UnknownError, match="no account `acme`: name it `tenant:ID`"):
        await setup.admin_service.set_budget("acme", Decimal(1), actor="admin")


async def test_usage_is_listed_newest_first_page_by_page_to_the_nano(setup: Setup) -> None:
    for tenant in ("acme", "globex"):
        await setup.admin_service.create_tenant(tenant, actor="admin")
    _, mine = await setup.admin_service.create_key("acme", actor="admin")
    _, theirs = await setup.admin_service.create_key("globex", actor="admin")
    for number in range(4):
        setup.clock.now += number % 2
        await setup.bill(mine, f"call-{number}", "0.000000001")
    await setup.bill(theirs, "other", "1")
    first = await setup.admin_service.usage_rows("acme", limit=3)
    rest = await setup.admin_service.usage_rows("acme", after=first[-1].id)
    assert ["call-3", "call-1", "call-2", "call-0"] == [line.id for line in (*first, *rest)]
    assert Decimal("1E-9") == first[0].cost
    assert 5 == len(await setup.admin_service.usage_rows())


# -- proof ---------------------------------------------------------------------------------------


async def test_an_update_is_recorded_by_field_without_names(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", name="Ada Lovelace", actor="admin")
    await setup.admin_service.update_tenant(
        "acme", {"name": "Grace Hopper", "plan": "free", "terms": Terms(budget=Decimal("1.5"))}, actor="key_1"
    )
    records = await setup.records("acme")
    assert {
        "name": ["not recorded", "not recorded"],
        "plan": ["unlimited", "free"],
        "terms": [{}, {"budget": "1.5"}],
    } == records[-1][2]
    assert "Lovelace" not in str(records)
    assert "Hopper" not in str(records)


async def test_a_change_that_fails_leaves_no_record(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", actor="admin")
    with pytest.raises(UnknownError):
        await setup.admin_service.update_tenant("acme", {"plan": "gold"}, actor="admin")
    assert ["tenant.create"] == await setup.kinds("acme")


async def test_an_office_with_another_secret_writes_nothing_into_the_chain(setup: Setup) -> None:
    await setup.admin_service.create_tenant("acme", actor="admin")
    stranger = AdminService(setup.store, Secrets("another installation's secret, as long"), setup.clock)
    with pytest.raises(LedgerError, match="set PENSTOCK_SECRET to the one that its gateways have"):
        await stranger.create_tenant("globex", actor="admin")
    assert ["acme"] == [tenant.id for tenant in await setup.admin_service.tenants()]


async def test_changes_of_one_tenant_at_once_are_all_made_and_recorded_in_turn(database_url: str) -> None:
    stores = [Store(database_url) for _ in range(2)]
    offices = [AdminService(store, SECRETS) for store in stores]
    await offices[0].create_tenant("acme", actor="admin")
    await asyncio.gather(*(admin_service.create_key("acme", actor="admin") for admin_service in offices * 5))
    assert ["tenant.create", *["key.create"] * 10] == await Setup(stores[0]).kinds("acme")
    assert 10 == len(await offices[0].keys("acme"))
    for store in stores:
        await store.close()


def _budget(balance: Any) -> tuple[Decimal | None, str]:
    return balance.budget, balance.period
