"""The audit log, against whoever may write to the database: whatever is changed, taken out or slipped in is found."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from app.audit.chain import append
from app.audit.log import AuditLog, Fault, Verification
from app.audit.records import OPERATOR, Entry, Record
from app.core.ports import Principal
from app.core.refusals import LedgerError, UnknownError
from app.core.terms import Terms
from app.db.schema import usage
from app.db.store import Store
from app.installation.secrets import Secrets
from tests.contracts.ledger_kit import SECRETS, START, SqlWorld, sql_world

DAY = 86_400.0
CHANGED = "the record was changed, or another was put in its place"
UNSEALED = "where the chain begins was not sealed with this secret: a prune that was not ours, or another secret"


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[SqlWorld]:
    """Tenant acme, whose chain is tenant.create and key.create, then four calls of 1.00, 3 to 6; and tenant other."""
    async with sql_world(database_url) as made:
        await made.admin_service.set_plan("short", Terms(retention_days=30), actor="test")
        await made.ledger.store.write(
            lambda c: c.execute(text("UPDATE settings SET value = '1' WHERE name LIKE '%since'"))
        )
        for name in ("acme", "other"):
            who = await made.caller(name=name)
            for number in range(1, 5):
                await made.settle(who, f"{name}_{number}", "1", created=made.clock())
        yield made


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def log(world: SqlWorld, page: int = 2000, secrets: Secrets = SECRETS) -> AuditLog:
    return AuditLog(world.ledger.store, secrets, world.clock, page=page)


async def tamper(world: SqlWorld, *statements: str) -> None:
    """What someone with every right on the database, but without the secret, can do."""

    def work(connection: Connection) -> None:
        for name in ("usage_no_update", "usage_no_delete", "audit_no_update"):
            on = f" ON {name.partition('_')[0]}" if connection.dialect.name == "postgresql" else ""
            connection.execute(text(f"DROP TRIGGER IF EXISTS {name}{on}"))
        for statement in statements:
            connection.execute(text(statement))

    await world.ledger.store.write(work)


async def count(world: SqlWorld, table: str, chain: str = "acme") -> int:
    column = "tenant" if table == "usage" else "chain"
    query = text(f"SELECT count(*) FROM {table} WHERE {column} = :chain")
    return int(await world.ledger.store.read(lambda c: c.execute(query, {"chain": chain}).scalar_one()))


# -- verify --------------------------------------------------------------------------------------


async def test_a_log_that_nobody_touched_holds(world: SqlWorld) -> None:
    assert Verification(chains=3, records=13, faults=()) == await log(world).verify()
    assert Verification(chains=1, records=6, faults=()) == await log(world).verify("acme")


@pytest.mark.parametrize("page", [1, 2, 3, 6, 7])
async def test_pages_of_any_size_find_the_same(world: SqlWorld, page: int) -> None:
    await tamper(world, "UPDATE audit SET actor = 'x' WHERE chain = 'acme' AND seq IN (2, 4)")
    found = await log(world, page).verify()
    assert Verification(3, 13, (Fault("acme", 2, CHANGED), Fault("acme", 4, CHANGED))) == found


COLUMNS = {
    "at": "at + 0.001",
    "kind": "'calls'",
    "actor": "'key_2'",
    "subject": "'acme_3'",
    "data": "replace(data, '1000000000', '1000000001')",
    "mac": "replace(mac, substr(mac, 1, 1), 'g')",
}


@pytest.mark.parametrize("column", COLUMNS)
async def test_whichever_field_of_a_record_is_changed_it_is_told_which_record(world: SqlWorld, column: str) -> None:
    await tamper(world, f"UPDATE audit SET {column} = {COLUMNS[column]} WHERE chain = 'acme' AND seq = 4")
    found = (await log(world).verify()).faults
    assert Fault("acme", 4, CHANGED) == found[0]
    assert {"acme"} == {fault.chain for fault in found}
    assert (await log(world).verify("other")).ok


async def test_a_record_that_is_taken_out_and_put_back_otherwise_is_found(world: SqlWorld) -> None:
    columns = "chain, seq, at, kind, actor, subject, data, mac"
    await tamper(
        world,
        f"CREATE TABLE loot AS SELECT {columns} FROM audit WHERE chain = 'acme' AND seq = 4",
        "DELETE FROM audit WHERE chain = 'acme' AND seq = 4",
        f"INSERT INTO audit ({columns}) SELECT chain, seq, at, kind, 'x', subject, data, mac FROM loot",
    )
    assert (Fault("acme", 4, CHANGED),) == (await log(world).verify()).faults


MISSING = {
    "a record": ("seq = 4", Fault("acme", 4, "record 4 is missing")),
    "several": ("seq IN (2, 3, 4)", Fault("acme", 2, "records 2 to 4 are missing")),
    "the first": ("seq = 1", Fault("acme", 1, "record 1 is missing")),
    "the last": ("seq = 6", Fault("acme", 6, "record 6 is missing")),
    "the last three": ("seq > 3", Fault("acme", 4, "records 4 to 6 are missing")),
    "all": ("seq > 0", Fault("acme", 1, "records 1 to 6 are missing")),
}


@pytest.mark.parametrize("which", MISSING)
async def test_records_that_were_deleted_are_missed(world: SqlWorld, which: str) -> None:
    where, fault = MISSING[which]
    await tamper(world, f"DELETE FROM audit WHERE chain = 'acme' AND {where}")
    assert fault == (await log(world).verify()).faults[0]


async def test_records_that_changed_places_are_found(world: SqlWorld) -> None:
    moves = [
        f"UPDATE audit SET seq = {to} WHERE chain = 'acme' AND seq = {seq}" for seq, to in ((4, 99), (5, 4), (99, 5))
    ]
    await tamper(world, *moves)
    assert [Fault("acme", seq, CHANGED) for seq in (4, 5, 6)] == list((await log(world).verify()).faults)


async def test_a_head_that_was_put_back_with_its_tail_leaves_calls_without_records(world: SqlWorld) -> None:
    head = "SELECT mac FROM audit WHERE chain = 'acme' AND seq = 4"
    await tamper(
        world,
        "DELETE FROM audit WHERE chain = 'acme' AND seq > 4",
        f"UPDATE chains SET seq = 4, mac = ({head}) WHERE id = 'acme'",
    )
    gone = [Fault("acme", None, f"the usage row acme_{number} has no record") for number in (3, 4)]
    assert gone == list((await log(world).verify()).faults)


async def test_a_chain_that_is_cut_off_at_its_beginning_as_if_pruned_is_found(world: SqlWorld) -> None:
    base = "SELECT mac FROM audit WHERE chain = 'acme' AND seq = 2"
    await tamper(
        world,
        f"UPDATE chains SET base_seq = 2, base_mac = ({base}) WHERE id = 'acme'",
        "DELETE FROM audit WHERE chain = 'acme' AND seq < 3",
    )
    assert (Fault("acme", 2, UNSEALED),) == (await log(world).verify()).faults


async def test_a_seal_of_another_chain_is_no_seal(world: SqlWorld) -> None:
    other = "SELECT base_seal FROM chains WHERE id = 'other'"
    await tamper(world, f"UPDATE chains SET base_seal = ({other}) WHERE id = 'acme'")
    assert (Fault("acme", 0, UNSEALED),) == (await log(world).verify()).faults


async def test_a_chain_without_its_row_is_found(world: SqlWorld) -> None:
    await tamper(world, "DELETE FROM chains WHERE id = 'acme'")
    what = "the chain's row is missing, while its records are there"
    assert (Fault("acme", None, what),) == (await log(world).verify()).faults


async def test_a_head_that_names_another_record_is_found(world: SqlWorld) -> None:
    await tamper(
        world, "UPDATE chains SET mac = (SELECT mac FROM audit WHERE chain = 'other' AND seq = 6) WHERE id = 'acme'"
    )
    what = "the last record is not the one that the chain ends with"
    assert (Fault("acme", 6, what),) == (await log(world).verify()).faults


async def test_a_chain_that_is_gone_altogether_leaves_its_calls_without_records(world: SqlWorld) -> None:
    await tamper(world, "DELETE FROM chains WHERE id = 'acme'", "DELETE FROM audit WHERE chain = 'acme'")
    gone = tuple(Fault("acme", None, f"the usage row acme_{number} has no record") for number in range(1, 5))
    assert Verification(2, 7, gone) == await log(world).verify()


@pytest.mark.parametrize(("seq", "place"), [(7, "records stand after the chain's end"), (0, "a record stands before")])
async def test_a_record_that_was_slipped_in_is_found(world: SqlWorld, seq: int, place: str) -> None:
    columns = "at, kind, actor, subject, data, mac"
    copied = f"SELECT chain, {seq}, {columns} FROM audit WHERE chain = 'acme' AND seq = 6"
    await tamper(world, f"INSERT INTO audit (chain, seq, {columns}) {copied}")
    (fault,) = (await log(world).verify()).faults
    assert ("acme", seq) == (fault.chain, fault.seq)
    assert fault.what.startswith(place)


BILLING = {
    "cost": ("UPDATE usage SET cost = 2000000000 WHERE id = 'acme_2'", "the usage row acme_2 was changed: cost"),
    "model": (
        "UPDATE usage SET model = 'x', ttft = 9 WHERE id = 'acme_2'",
        "the usage row acme_2 was changed: model, ttft",
    ),
    "batch": ("UPDATE usage SET batch = NOT batch WHERE id = 'acme_2'", "the usage row acme_2 was changed: batch"),
    "gone": ("DELETE FROM usage WHERE id = 'acme_2'", "the usage row acme_2 is missing"),
}


@pytest.mark.parametrize("which", BILLING)
async def test_a_usage_row_that_is_not_as_its_call_was_recorded_is_found(world: SqlWorld, which: str) -> None:
    statement, what = BILLING[which]
    await tamper(world, statement)
    found = (await log(world).verify()).faults
    assert Fault("acme", 4, what) == found[0]
    assert (which in {"cost", "gone"}) == any("account" in fault.what for fault in found)


async def slip_in(world: SqlWorld, id_: str, created: float) -> None:
    """A usage row that copies acme_1, and its money on the account."""
    columns = ", ".join(column.name for column in usage.columns if column.name not in {"id", "created"})
    copied = f"SELECT '{id_}', {created}, {columns} FROM usage WHERE id = 'acme_1'"
    account = "UPDATE accounts SET spent = spent + 1000000000 WHERE id = 'tenant:acme'"
    await tamper(world, f"INSERT INTO usage (id, created, {columns}) {copied}", account)


async def test_a_usage_row_that_nobody_recorded_is_found(world: SqlWorld) -> None:
    await slip_in(world, "forged", START)
    assert (Fault("acme", None, "the usage row forged has no record"),) == (await log(world).verify()).faults


async def test_usage_rows_of_the_same_moment_are_all_looked_at(world: SqlWorld) -> None:
    for number in range(3):
        await slip_in(world, f"forged_{number}", START + 1)
    told = [fault.what for fault in (await log(world, page=2).verify()).faults]
    assert [f"the usage row forged_{number} has no record" for number in range(3)] == told


async def test_calls_from_before_there_was_an_audit_log_need_no_record(world: SqlWorld) -> None:
    await slip_in(world, "old", 0.5)
    assert (await log(world).verify()).ok


async def test_an_account_that_does_not_add_up_is_found(world: SqlWorld) -> None:
    await tamper(world, "UPDATE accounts SET spent = spent - 1 WHERE id = 'tenant:acme'")
    what = "the tenant's account says 3.999999999 spent, its usage rows sum to 4.000000000"
    assert (Fault("acme", None, what),) == (await log(world).verify()).faults


async def test_an_account_that_is_gone_is_found(world: SqlWorld) -> None:
    await tamper(world, "DELETE FROM accounts WHERE id = 'tenant:acme'")
    what = "the tenant's account is missing, with 4.000000000 billed"
    assert (Fault("acme", None, what),) == (await log(world).verify()).faults


async def test_another_secret_is_told_in_one_sentence(world: SqlWorld) -> None:
    other = Secrets("another secret, also as long as one must be")
    (fault,) = (await log(world, secrets=other).verify()).faults
    assert "set PENSTOCK_SECRET" in fault.what
    assert SECRETS.fingerprint in fault.what
    assert other.fingerprint in fault.what


async def test_another_secret_is_told_once_for_each_chain_where_nothing_says_whose_it_is(world: SqlWorld) -> None:
    await tamper(world, "DELETE FROM settings WHERE name = 'audit.fingerprint'")
    found = await log(world, secrets=Secrets("another secret, also as long as one must be")).verify()
    assert [UNSEALED] * 3 == [fault.what for fault in found.faults]


async def test_more_than_a_hundred_faults_are_counted_and_not_listed(world: SqlWorld) -> None:
    notes = [Entry("acme", START, "note", "test", str(number), {}) for number in range(120)]
    await world.ledger.store.write(lambda c: append(c, SECRETS.audit_key, notes))
    await tamper(world, "UPDATE audit SET actor = 'x' WHERE kind = 'note'")
    found = await log(world).verify()
    assert (100, 20, False) == (len(found.faults), found.more, found.ok)


async def test_a_chain_that_is_none_is_an_error_and_no_clean_bill(world: SqlWorld) -> None:
    with pytest.raises(UnknownError, match="There is no audit chain `acne`"):
        await log(world).verify("acne")


async def test_a_tenant_of_which_nothing_was_recorded_holds(world: SqlWorld) -> None:
    made = (
        "INSERT INTO tenants (id, name, plan, terms, keeps_content, created) VALUES ('new', '', 'free', '{}', false, 0)"
    )
    await tamper(world, made)
    assert Verification(0, 0, ()) == await log(world).verify("new")


async def test_calls_that_are_settled_meanwhile_are_no_faults(world: SqlWorld) -> None:
    who = await world.caller(name="busy")

    async def settle() -> None:
        for number in range(40):
            await world.settle(who, f"busy_{number}", "0.5", created=world.clock())

    busy = asyncio.create_task(settle())
    looks = 0
    while not busy.done():
        assert () == (await log(world, page=3).verify("busy")).faults
        looks += 1
    await busy
    assert looks > 1
    assert 42 == (await log(world).verify("busy")).records


async def test_two_gateways_write_one_chain_without_a_gap(world: SqlWorld, database_url: str) -> None:
    stores = [world.ledger.store, Store(database_url)]

    async def write(store: Store, name: str) -> list[Record]:
        entries = [Entry(chain, START, "note", name, "", {}) for chain in ("shared", OPERATOR)]
        return await store.write(lambda c: append(c, SECRETS.audit_key, entries))

    written = await asyncio.gather(*(write(store, str(number)) for number in range(15) for store in stores))
    assert list(range(1, 31)) == sorted(records[0].seq for records in written)
    assert (await log(world).verify()).ok
    await stores[1].close()


# -- records -------------------------------------------------------------------------------------


async def test_records_come_newest_first_and_no_more_than_asked_for(world: SqlWorld) -> None:
    assert [6, 5, 4] == [record.seq for record in await log(world).records("acme", limit=3)]
    world.clock.now += 1
    await world.settle(await world.again(), "late", created=world.clock())
    assert ["late"] == [record.subject for record in await log(world).records(limit=1)]


async def test_records_are_found_by_kind_subject_and_time(world: SqlWorld) -> None:
    audit = log(world)
    assert ["acme_2"] == [record.subject for record in await audit.records(subject="acme_2")]
    assert [6, 5, 4, 3] == [record.seq for record in await audit.records("other", "call")]
    assert 8 == len(await audit.records(kind="call"))
    assert 13 == len(await audit.records(after=START))
    assert [] == await audit.records(before=START)
    assert [] == await audit.records(after=START + 1)


# -- prune ---------------------------------------------------------------------------------------


async def prune(world: SqlWorld, to: str, page: int = 2000, **how: Any) -> dict[str, int]:
    """Take out what is older than the terms of its tenant say."""
    return await log(world, page=page).prune(to, await world.admin_service.retention(), **how)


async def age(world: SqlWorld, days: float) -> None:
    """Let time pass, then settle one more call of the tenant acme."""
    world.clock.now += days * DAY
    await world.settle(Principal("acme", "key_late"), f"late_{world.clock.now}", "1", created=world.clock())


async def test_what_is_older_than_seven_years_is_moved_out_and_everything_still_holds(
    world: SqlWorld, out: Path
) -> None:
    await age(world, 2556)
    assert {} == await prune(world, str(out))
    assert [] == inside(out)
    await age(world, 1.5)
    assert {"_operator": 1, "acme": 6, "other": 6} == await prune(world, str(out))
    assert () == (await log(world).verify()).faults
    assert (3, 13) == ((kept := await log(world).verify_export(str(out))).chains, kept.records)
    assert kept.ok
    assert 6 == await count(world, "usage")
    assert ["call", "call", "audit.prune"] == [r.kind for r in reversed(await log(world).records("acme"))]


async def test_a_chain_goes_on_after_a_prune(world: SqlWorld, out: Path) -> None:
    await age(world, 2558)
    await prune(world, str(out))
    await age(world, 1)
    assert [9, 8, 7] == [record.seq for record in await log(world).records("acme")]
    assert (await log(world).verify()).ok


async def test_a_prune_says_in_both_chains_what_it_took_and_where_it_lies(world: SqlWorld, out: Path) -> None:
    await age(world, 2558)
    await prune(world, str(out))
    (folder,) = inside(out)
    said = {"first": 1, "last": 6, "to": str(folder), "calls": 4, "cost": 4 * 10**9}
    own, operators = [await log(world).records(chain, "audit.prune", "acme") for chain in ("acme", OPERATOR)]
    assert [said, said] == [json.loads(record.data) for record in (*own, *operators)]


async def test_a_tenants_terms_over_its_plans_say_how_long(world: SqlWorld, out: Path) -> None:
    await world.admin_service.update_tenant("acme", {"plan": "short"}, actor="test")
    await world.admin_service.update_tenant("other", {"plan": "short", "terms": Terms(retention_days=90)}, actor="test")
    await age(world, 31)
    assert {"acme": 7} == await prune(world, str(out))
    world.clock.now += 60 * DAY
    assert {"acme": 2, "other": 7} == await prune(world, str(out))
    assert (await log(world).verify()).ok
    assert (await log(world).verify_export(str(out))).ok


async def test_a_prune_of_many_steps_holds_like_one_of_one(world: SqlWorld, out: Path) -> None:
    await age(world, 2558)
    assert {"_operator": 1, "acme": 6, "other": 6} == await prune(world, str(out), page=2, format="parquet")
    assert () == (await log(world).verify()).faults
    last = (await log(world).records("acme", "audit.prune"))[0]
    assert (5, 6, 4) == tuple(json.loads(last.data)[name] for name in ("first", "last", "calls"))


async def test_every_prune_counts_on_from_the_one_before(world: SqlWorld, out: Path) -> None:
    await world.admin_service.update_tenant("acme", {"plan": "short"}, actor="test")
    for _ in range(4):
        await age(world, 31)
        await prune(world, str(out))
        assert () == (await log(world).verify()).faults
    said = json.loads((await log(world).records("acme", "audit.prune"))[0].data)
    assert (7, 7 * 10**9) == (said["calls"], said["cost"])


async def test_a_call_slipped_in_among_the_pruned_is_found(world: SqlWorld, out: Path) -> None:
    await age(world, 2558)
    await prune(world, str(out))
    await slip_in(world, "forged", START)
    what = "5 usage rows of 5.000000000 have no record, but 4 of 4.000000000 were pruned"
    assert (Fault("acme", None, what),) == (await log(world).verify()).faults


async def test_a_call_taken_out_from_among_the_pruned_is_found(world: SqlWorld, out: Path) -> None:
    await age(world, 2558)
    await prune(world, str(out))
    spent = "UPDATE accounts SET spent = spent - 1000000000 WHERE id = 'tenant:acme'"
    await tamper(world, "DELETE FROM usage WHERE id = 'acme_3'", spent)
    what = "3 usage rows of 3.000000000 have no record, but 4 of 4.000000000 were pruned"
    assert (Fault("acme", None, what),) == (await log(world).verify()).faults


async def test_a_chain_with_a_fault_is_kept_as_evidence_while_the_others_are_pruned(world: SqlWorld, out: Path) -> None:
    await age(world, 2558)
    await tamper(world, "UPDATE audit SET actor = 'x' WHERE chain = 'acme' AND seq = 4")
    with pytest.raises(LedgerError, match=r"Not pruned: acme\. acme 4: the record was changed"):
        await prune(world, str(out))
    assert (7, 1) == (await count(world, "audit"), await count(world, "audit", "other"))
    assert (await log(world).verify("other")).ok


async def test_nothing_is_deleted_where_the_export_cannot_be_written(world: SqlWorld, out: Path) -> None:
    await age(world, 2558)
    (out / "file").write_text("")
    with pytest.raises(LedgerError, match="failed"):
        await prune(world, str(out / "file" / "folder"))
    assert (7, 6) == (await count(world, "audit"), await count(world, "audit", "other"))
    assert (await log(world).verify()).ok


class Meddled:
    """A store in which something happens before the `due`-th time that it is asked."""

    def __init__(self, store: Store, due: int, meddle: Callable[[], Awaitable[object]], what: str) -> None:
        self._store, self._due, self._meddle, self._what = store, due, meddle, what

    async def read(self, work: Callable[[Connection], Any]) -> Any:
        return await self._ask("read", work)

    async def write(self, work: Callable[[Connection], Any]) -> Any:
        return await self._ask("write", work)

    async def _ask(self, what: str, work: Callable[[Connection], Any]) -> Any:
        self._due -= what == self._what
        if self._due == 0:
            self._due = -1
            await self._meddle()
        return await getattr(self._store, what)(work)


@pytest.mark.parametrize("due", range(1, 14))
async def test_a_prune_in_the_middle_of_a_verification_is_no_fault(world: SqlWorld, out: Path, due: int) -> None:
    await age(world, 2558)
    store = Meddled(world.ledger.store, due, lambda: prune(world, str(out)), "read")
    assert () == (await AuditLog(store, SECRETS, world.clock, page=1).verify("acme")).faults  # type: ignore[arg-type]
    assert inside(out)


@pytest.mark.parametrize("due", range(1, 6))
async def test_two_prunes_at_once_take_each_record_once(world: SqlWorld, out: Path, due: int) -> None:
    await age(world, 2558)
    store = Meddled(world.ledger.store, due, lambda: prune(world, str(out / "other"), page=3), "write")
    with pytest.raises(LedgerError, match="was pruned by another at the same time"):
        await AuditLog(store, SECRETS, world.clock, page=3).prune(str(out), {})  # type: ignore[arg-type]
    assert () == (await log(world).verify()).faults
    assert (await log(world).verify_export(str(out))).ok
    assert (3, 2) == (await count(world, "audit"), await count(world, "audit", "other"))
