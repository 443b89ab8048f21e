"""Exports of the audit log: whole, the same as the database, and nothing in them can be changed unseen."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from pyarrow import parquet
from sqlalchemy import text

from app.audit.chain import append
from app.audit.log import AuditLog, Exported, Fault, Format
from app.audit.records import GENESIS, Entry
from app.core.refusals import LedgerError
from app.db.store import Store
from app.installation.secrets import Secrets
from tests.contracts.ledger_kit import SECRETS

OTHER = Secrets("another secret, also as long as one must be")
MAY, JUNE, JULY = 1_714_521_600.0, 1_717_200_000.0, 1_719_792_000.0
"""When those months of 2024 began, UTC."""
_numbers = itertools.count()


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """Chain acme: two records in May, two in June, one in July; chain other: one in June."""
    made = Store(database_url)
    times = (MAY, JUNE - 0.001, JUNE, JUNE + 5, JULY)
    entries = [Entry("acme", at, "note", "test", f"é{n}", {"line": "one\ntwo"}) for n, at in enumerate(times, 1)]
    entries.append(Entry("other", JUNE, "note", "test", "6", {}))
    await made.write(lambda connection: append(connection, SECRETS.audit_key, entries))
    yield made
    await made.close()


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a folder that does not exist yet."""
    return f"{tmp_path}/deep/out" if request.param == "folder" else f"memory://export{next(_numbers)}/out"


@pytest.fixture(params=["jsonl", "parquet"])
def form(request: pytest.FixtureRequest) -> Format:
    return request.param  # type: ignore[no-any-return]


def log(store: Store, secrets: Secrets = SECRETS) -> AuditLog:
    return AuditLog(store, secrets, page=2)


def names(url: str) -> list[str]:
    fs, root = fsspec.core.url_to_fs(url)
    return sorted(path.rpartition("/")[2] for path in fs.find(root))


def contents(url: str, name: str) -> bytes:
    with fsspec.open(f"{url}/{name}", "rb") as file:
        return file.read()  # type: ignore[no-any-return]


def put(url: str, name: str, body: bytes) -> None:
    with fsspec.open(f"{url}/{name}", "wb") as file:
        file.write(body)


def manifest(url: str) -> Any:
    return json.loads(contents(url, "manifest.json"))


def remanifest(url: str, name: str, **changes: Any) -> None:
    """Make the manifest say of a file what is so now, as a forger would, who cannot sign it."""
    said = manifest(url)
    (listed,) = (one for one in said["files"] if one["name"] == name)
    listed |= {"sha256": hashlib.sha256(contents(url, name)).hexdigest(), **changes}
    put(url, "manifest.json", json.dumps(said).encode())


async def faults(store: Store, url: str, secrets: Secrets = SECRETS) -> list[Fault]:
    return list((await log(store, secrets).verify_export(url)).faults)


# -- what is written -----------------------------------------------------------------------------


async def test_there_is_a_file_for_each_chain_and_month_and_a_manifest(store: Store, place: str, form: Format) -> None:
    assert Exported(files=4, records=6) == await log(store).export(place, format=form)
    files = ["acme.2024-05", "acme.2024-06", "acme.2024-07", "other.2024-06"]
    assert sorted([*(f"{name}.{form}" for name in files), "manifest.json"]) == names(place)


async def test_an_export_proves_itself_and_is_what_the_database_holds(store: Store, place: str, form: Format) -> None:
    await log(store).export(place, format=form)
    found = await log(store).verify_export(place)
    assert (2, 6, ()) == (found.chains, found.records, found.faults)


async def test_an_export_needs_no_database_to_prove_itself(
    store: Store, place: str, form: Format, tmp_path: Path
) -> None:
    await log(store).export(place, format=form)
    empty = Store(f"sqlite:///{tmp_path}/empty.db")
    assert (6, ()) == ((found := await log(empty).verify_export(place)).records, found.faults)
    await empty.close()


async def test_the_records_in_a_file_are_those_of_the_database(store: Store, tmp_path: Path) -> None:
    await log(store).export(f"{tmp_path}/json", format="jsonl", chain="acme")
    await log(store).export(f"{tmp_path}/table", format="parquet", chain="acme")
    held = [{n: getattr(one, n) for n in one.__slots__} for one in reversed(await log(store).records("acme"))]
    months = ["acme.2024-05", "acme.2024-06", "acme.2024-07"]
    lines = [line for month in months for line in contents(f"{tmp_path}/json", f"{month}.jsonl").splitlines()]
    assert held == [json.loads(line) for line in lines]
    tables = [parquet.read_table(f"{tmp_path}/table/{month}.parquet").to_pylist() for month in months]
    assert held == [*itertools.chain(*tables)]


async def test_the_manifest_says_where_each_file_stands_in_its_chain(store: Store, place: str) -> None:
    await log(store).export(place, format="jsonl")
    said = manifest(place)
    macs = [GENESIS, *(record.mac for record in reversed(await log(store).records("acme")))]
    june = said["files"][1]
    assert {
        "name": "acme.2024-06.jsonl",
        "chain": "acme",
        "records": 2,
        "first": 3,
        "last": 4,
        "before": macs[2],
        "sha256": hashlib.sha256(contents(place, "acme.2024-06.jsonl")).hexdigest(),
    } == june
    assert {"seq": 5, "mac": macs[5]} == said["heads"]["acme"]


async def test_a_time_span_is_exported_with_what_stands_before_it(store: Store, place: str, form: Format) -> None:
    assert Exported(1, 2) == await log(store).export(place, format=form, chain="acme", after=JUNE, before=JULY)
    assert [f"acme.2024-06.{form}", "manifest.json"] == names(place)
    assert [] == await faults(store, place)


async def test_a_gateway_whose_clock_is_behind_starts_no_second_file_of_a_month(store: Store, place: str) -> None:
    late = [Entry("acme", at, "note", "test", "", {}) for at in (JULY, MAY, JULY)]
    await store.write(lambda connection: append(connection, SECRETS.audit_key, late))
    await log(store).export(place, format="jsonl", chain="acme")
    assert [2, 2, 4] == [listed["records"] for listed in manifest(place)["files"]]
    assert [] == await faults(store, place)


async def test_no_name_of_a_chain_leads_out_of_the_folder(store: Store, place: str) -> None:
    evil = Entry("../../é *", JUNE, "note", "test", "", {})
    await store.write(lambda connection: append(connection, SECRETS.audit_key, [evil]))
    await log(store).export(place, format="jsonl", chain=evil.chain)
    assert ["..%2F..%2F%C3%A9%20%2A.2024-06.jsonl", "manifest.json"] == names(place)
    assert [] == await faults(store, place)


async def test_an_export_is_never_written_over_another(store: Store, place: str) -> None:
    await log(store).export(place, format="jsonl", chain="acme")
    before = names(place)
    with pytest.raises(LedgerError, match="an export is there already"):
        await log(store).export(place, format="jsonl", chain="other")
    assert before == names(place)


async def test_an_export_that_fails_leaves_no_half_file_and_no_manifest(
    store: Store, tmp_path: Path, form: Format
) -> None:
    draft = tmp_path / f".acme.2024-06.{form}.part"
    draft.symlink_to("/dev/full")
    with pytest.raises(LedgerError, match="No space left on device"):
        await log(store).export(str(tmp_path), format=form, chain="acme")
    assert [f"acme.2024-05.{form}"] == [name for name in names(str(tmp_path)) if name.startswith((".", "acme", "m"))]
    with pytest.raises(LedgerError, match="There is no audit export"):
        await log(store).verify_export(str(tmp_path))
    assert Exported(3, 5) == await log(store).export(str(tmp_path), format=form, chain="acme")
    assert [] == await faults(store, str(tmp_path))


@pytest.mark.parametrize("at", ["1e300", "-1e300", "1e15"])
async def test_a_record_whose_time_is_none_is_exported_and_told(
    store: Store, place: str, form: Format, at: str
) -> None:
    def break_one(connection: Any) -> None:
        on = " ON audit" if connection.dialect.name == "postgresql" else ""
        connection.execute(text(f"DROP TRIGGER audit_no_update{on}"))
        connection.execute(text(f"UPDATE audit SET at = {at} WHERE chain = 'acme' AND seq = 1"))

    await store.write(break_one)
    assert 5 == (await log(store).export(place, format=form, chain="acme")).records
    assert [("acme", 1)] == [(fault.chain, fault.seq) for fault in await faults(store, place)]


async def test_a_place_that_is_none_is_told_without_its_password(store: Store) -> None:
    with pytest.raises(LedgerError, match=r"nowhere://\*\*\*@host/x failed") as error:
        await log(store).export("nowhere://me:secret@host/x", format="jsonl")
    assert "secret@" not in str(error.value)


async def test_a_chain_that_is_none_is_an_error(store: Store, place: str) -> None:
    with pytest.raises(LedgerError, match="There is no audit chain `acne`"):
        await log(store).export(place, format="jsonl", chain="acne")


# -- what is found -------------------------------------------------------------------------------


async def test_a_record_that_was_changed_in_a_file_is_named(store: Store, place: str) -> None:
    await log(store).export(place, format="jsonl")
    name = "acme.2024-06.jsonl"
    put(place, name, contents(place, name).replace("é4".encode(), "é5".encode()))
    told = await faults(store, place)
    assert [("acme", 3), ("acme", 4)] == [(fault.chain, fault.seq) for fault in told]
    assert "sha256 is another" in told[0].what
    assert "the record was changed" in told[1].what


async def test_a_changed_file_is_found_also_where_the_manifest_was_made_to_fit(store: Store, place: str) -> None:
    await log(store).export(place, format="jsonl")
    name = "acme.2024-06.jsonl"
    put(place, name, contents(place, name).replace("é4".encode(), "é5".encode()))
    remanifest(place, name)
    told = await faults(store, place)
    assert [("*", None), ("acme", 4)] == [(fault.chain, fault.seq) for fault in told]
    assert "its mac is not that of its text" in told[0].what


async def test_a_file_that_ends_early_is_found_also_where_the_manifest_was_made_to_fit(
    store: Store, place: str
) -> None:
    await log(store).export(place, format="jsonl")
    name = "acme.2024-06.jsonl"
    put(place, name, contents(place, name).splitlines(keepends=True)[0])
    remanifest(place, name, records=1, last=3)
    assert ["*"] == [fault.chain for fault in await faults(store, place)]


async def test_a_file_that_is_gone_is_missed(store: Store, place: str, form: Format) -> None:
    await log(store).export(place, format=form)
    fs, root = fsspec.core.url_to_fs(place)
    fs.rm(f"{root}/acme.2024-06.{form}")
    (fault,) = await faults(store, place)
    assert ("acme", 3) == (fault.chain, fault.seq)
    assert fault.what.endswith("is missing")


@pytest.mark.parametrize("body", [b"", b"\x00\x01", b"{}\n", b"[1]\n", b'{"chain": 1}\n'])
async def test_a_file_of_anything_else_is_a_fault_and_no_crash(
    store: Store, place: str, form: Format, body: bytes
) -> None:
    await log(store).export(place, format=form)
    put(place, f"acme.2024-06.{form}", body)
    assert {("acme", 3)} == {(fault.chain, fault.seq) for fault in await faults(store, place)}


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\xff"])
async def test_a_manifest_of_anything_else_is_a_fault_and_no_crash(store: Store, place: str, body: bytes) -> None:
    await log(store).export(place, format="jsonl")
    put(place, "manifest.json", body)
    (fault,) = await faults(store, place)
    assert fault.what.endswith("it is no manifest")


async def test_another_secret_is_told_in_one_sentence(store: Store, place: str) -> None:
    await log(store).export(place, format="jsonl")
    (fault,) = await faults(store, place, OTHER)
    assert SECRETS.fingerprint in fault.what
    assert "set PENSTOCK_SECRET" in fault.what


async def test_a_chain_that_was_put_back_to_an_earlier_end_is_found_by_its_export(store: Store, place: str) -> None:
    await log(store).export(place, format="jsonl", chain="acme")
    head = "SELECT mac FROM audit WHERE chain = 'acme' AND seq = 4"

    def rewind(connection: Any) -> None:
        connection.execute(text(f"UPDATE chains SET seq = 4, mac = ({head}) WHERE id = 'acme'"))
        connection.execute(text("DELETE FROM audit WHERE chain = 'acme' AND seq = 5"))

    await store.write(rewind)
    assert (await log(store).verify()).ok  # within the database, nothing shows it
    assert {("acme", 5)} == {(fault.chain, fault.seq) for fault in await faults(store, place)}


async def test_a_chain_that_went_on_otherwise_from_an_earlier_end_is_found_by_its_export(
    store: Store, place: str
) -> None:
    await log(store).export(place, format="jsonl", chain="acme")
    head = "SELECT mac FROM audit WHERE chain = 'acme' AND seq = 4"

    def rewrite(connection: Any) -> None:
        connection.execute(text(f"UPDATE chains SET seq = 4, mac = ({head}) WHERE id = 'acme'"))
        connection.execute(text("DELETE FROM audit WHERE chain = 'acme' AND seq = 5"))
        append(connection, SECRETS.audit_key, [Entry("acme", JULY, "note", "test", str(n), {}) for n in range(9)])

    await store.write(rewrite)
    assert {("acme", 5)} == {(fault.chain, fault.seq) for fault in await faults(store, place)}


async def test_a_record_that_the_database_lost_is_found_by_its_export(store: Store, place: str) -> None:
    await log(store).export(place, format="jsonl", chain="acme")
    await store.write(lambda c: c.execute(text("DELETE FROM audit WHERE chain = 'acme' AND seq = 2")))
    what = "the database holds another record than this file, or none"
    assert [Fault("acme", 2, what)] == await faults(store, place)


async def test_a_chain_that_the_database_lost_is_found_by_its_export(store: Store, place: str) -> None:
    await log(store).export(place, format="jsonl")

    def lose(connection: Any) -> None:
        for table, column in (("audit", "chain"), ("chains", "id")):
            connection.execute(text(f"DELETE FROM {table} WHERE {column} = 'acme'"))

    await store.write(lose)
    assert [Fault("acme", None, "the database does not have this chain")] == await faults(store, place)


async def test_every_export_below_a_folder_is_checked(store: Store, place: str) -> None:
    await log(store).export(f"{place}/one", format="jsonl", chain="acme")
    await log(store).export(f"{place}/two", format="parquet", chain="other")
    put(f"{place}/two", "other.2024-06.parquet", b"")
    assert {"other"} == {fault.chain for fault in await faults(store, place)}
