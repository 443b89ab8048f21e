"""Audit records as files that prove themselves. audit -> [audit_export] -> fsspec, SQL.

An export is a folder: one file per chain and UTC month, and a signed manifest, written last, that names them and says
where each stands in its chain. Who has the secret can check it without the database. Everything raises LedgerError.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any, Literal
from urllib.parse import quote

import fsspec
import orjson
from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection, select

from app.audit.records import Record, canonical, sign
from app.core.refusals import LedgerError
from app.db.schema import audit, chains
from app.db.store import Store
from app.installation.secrets import Secrets

Format = Literal["jsonl", "parquet"]
MOST = 100
"""Faults that are told one by one; the rest is counted."""
_MANIFEST = "manifest.json"
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Fault:
    """What does not hold. seq: of the record, or of the first of several; None: not of one record."""

    chain: str
    seq: int | None
    what: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What was looked at and what was found. more: faults beyond those listed."""

    chains: int
    records: int
    faults: tuple[Fault, ...]
    more: int = 0

    @property
    def ok(self) -> bool:
        """Whether everything holds."""
        return not self.faults


@dataclass(frozen=True, slots=True)
class Exported:
    """How many files were written, the manifest aside, and how many records stand in them."""

    files: int
    records: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive records of a chain. before: the mac of the one before `first`; head: the chain's last seq and mac."""

    chain: str
    first: int
    last: int
    before: str
    head: tuple[int, str]


@dataclass(slots=True)
class Findings:
    """A Verification in the making."""

    chains: int = 0
    records: int = 0
    faults: list[Fault] = field(default_factory=list)
    more: int = 0

    def add(self, fault: Fault | None) -> None:
        """One more, if it is one."""
        if fault and len(self.faults) < MOST:
            self.faults.append(fault)
        elif fault:
            self.more += 1

    def take(self, other: Findings) -> None:
        """All that the other found too."""
        self.chains += other.chains
        self.records += other.records
        self.more += other.more
        for fault in other.faults:
            self.add(fault)

    def done(self) -> Verification:
        """What was found."""
        return Verification(self.chains, self.records, tuple(self.faults), self.more)


@dataclass(slots=True)
class Walk:
    """Follows a chain record by record. seq, mac: of the record that it stands on."""

    key: bytes
    chain: str
    seq: int
    mac: str

    def step(self, record: Record) -> Fault | None:
        """What is wrong with the next record. Goes on from what stands there, so that one change is one fault."""
        due, before = self.seq + 1, self.mac
        self.seq, self.mac = record.seq, record.mac
        if record.seq != due:
            return Fault(self.chain, due, missing(due, record.seq - 1))
        if sign(self.key, before, record) != record.mac:
            return Fault(self.chain, due, "the record was changed, or another was put in its place")
        return None


def missing(first: int, last: int) -> str:
    """Says that these records are gone."""
    return f"record {first} is missing" if first == last else f"records {first} to {last} are missing"


async def pages(store: Store, stretch: Stretch, size: int) -> AsyncIterator[list[Record]]:
    """The records that the database holds of a stretch, up to `size` at a time."""
    last = stretch.first - 1
    while True:
        records = await store.read(partial(_page, stretch=stretch, after=last, size=size))
        if not records:
            return
        yield records
        last = records[-1].seq


def _page(connection: Connection, stretch: Stretch, after: int, size: int) -> list[Record]:
    where = (audit.c.chain == stretch.chain, audit.c.seq > after, audit.c.seq <= stretch.last)
    return _records(connection.execute(select(audit).where(*where).order_by(audit.c.seq).limit(size)).mappings())


def _records(rows: Iterable[Any]) -> list[Record]:
    return [Record(**row) for row in rows]


# -- the manifest --------------------------------------------------------------------------------


class _Listed(BaseModel):
    """One file. before: the mac of the record before its first. sha256: hex."""

    name: str
    chain: str
    records: int
    first: int
    last: int
    before: str
    sha256: str


class _Head(BaseModel):
    seq: int
    mac: str


class _Manifest(BaseModel):
    """heads: each chain's last record when it was exported. fingerprint: of the secret. mac: over all the rest."""

    version: Literal[1] = 1
    fingerprint: str
    files: list[_Listed]
    heads: dict[str, _Head]
    mac: str = ""

    def sign(self, key: bytes) -> str:
        body = canonical(self.model_dump(exclude={"mac"}))
        return hmac.new(key, body.encode(), hashlib.sha256).hexdigest()


# -- writing -------------------------------------------------------------------------------------


def shown(url: str) -> str:
    """The url without what may be a password."""
    return re.sub(r"//[^/@]*@", "//***@", url)


@contextmanager
def _explained(url: str) -> Iterator[None]:
    try:
        yield
    except LedgerError:
        raise
    except Exception as error:  # file systems of a hundred authors raise whatever they like
        raise LedgerError(
            f"The audit export at {shown(url)} failed: {error}. Is the place there, and may this user use it?",
            outage=isinstance(error, OSError),
        ) from error


class _Place:
    """A folder of any file system, used from threads."""

    def __init__(self, url: str) -> None:
        self.fs, root = fsspec.core.url_to_fs(url)
        self.root = root.rstrip("/")

    def claim(self) -> None:
        """Make the folder. Raises ValueError where an export is already: it would be overwritten."""
        self.fs.makedirs(self.root, exist_ok=True)
        if self.fs.exists(f"{self.root}/{_MANIFEST}"):
            raise ValueError("an export is there already, choose another folder")

    def put(self, name: str, body: bytes) -> None:
        draft = f"{self.root}/.{name}.part"
        with self.fs.open(draft, "wb") as out:
            out.write(body)
        self.fs.mv(draft, f"{self.root}/{name}")

    def manifests(self) -> list[str]:
        """The paths of every manifest in the folder and below."""
        return sorted(path for path in self.fs.find(self.root) if path.rpartition("/")[2] == _MANIFEST)

    def sha256(self, path: str) -> str:
        digest = hashlib.sha256()
        with self.fs.open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def read(self, path: str, size: int) -> Iterator[list[Record]]:
        """The records of a file, up to `size` at a time."""
        with self.fs.open(path, "rb") as file:
            rows = _parquet_rows(file, size) if path.endswith(".parquet") else _json_rows(file, size)
            for page in rows:
                yield _records(page)


def _json_rows(file: Any, size: int) -> Iterator[list[Any]]:
    while lines := list(islice(file, size)):
        yield [orjson.loads(line) for line in lines]


def _parquet_rows(file: Any, size: int) -> Iterator[list[Any]]:
    from pyarrow import parquet  # type: ignore[import-untyped]

    for batch in parquet.ParquetFile(file).iter_batches(size):
        yield batch.to_pylist()


class _Draft:
    """A file that is being written, under a name that no reader looks for."""

    def __init__(self, place: _Place, form: Format, chain: str, month: str, before: str) -> None:
        self.month = month
        self._place, self._chain, self._before = place, chain, before
        self._name = f"{quote(chain, safe='')}.{month}.{form}"
        self._path = f"{place.root}/.{self._name}.part"
        self._out = place.fs.open(self._path, "wb")
        self._table = _Table(self._out) if form == "parquet" else None
        self._count, self._first, self._last = 0, 0, 0

    def write(self, records: Sequence[Record]) -> None:
        self._first = self._first or records[0].seq
        self._count, self._last = self._count + len(records), records[-1].seq
        if self._table:
            self._table.write(records)
        else:
            self._out.write(b"".join(orjson.dumps(record) + b"\n" for record in records))

    def finish(self) -> _Listed:
        """Close it and give it its name."""
        if self._table:
            self._table.close()
        self._out.close()
        digest = self._place.sha256(self._path)
        self._place.fs.mv(self._path, f"{self._place.root}/{self._name}")
        return _Listed(
            name=self._name,
            chain=self._chain,
            records=self._count,
            first=self._first,
            last=self._last,
            before=self._before,
            sha256=digest,
        )

    def drop(self) -> None:
        """Leave nothing behind; what it fails on is what failed before."""
        with suppress(OSError, ValueError):
            if self._table:
                self._table.close()
        with suppress(OSError, ValueError):
            self._out.close()
        with suppress(OSError):
            self._place.fs.rm(self._path)


class _Table:
    """Records as Parquet, a row group for each write."""

    def __init__(self, out: Any) -> None:
        import pyarrow as pa  # type: ignore[import-untyped]
        from pyarrow import parquet  # type: ignore[import-untyped]

        kinds = {"seq": pa.int64(), "at": pa.float64()}
        self._schema = pa.schema([(name, kinds.get(name, pa.string())) for name in Record.__slots__])
        self._make = pa.Table.from_pylist
        self._writer = parquet.ParquetWriter(out, self._schema)
        self.close = self._writer.close

    def write(self, records: Sequence[Record]) -> None:
        rows = [{name: getattr(record, name) for name in Record.__slots__} for record in records]
        self._writer.write_table(self._make(rows, schema=self._schema))


async def export(
    store: Store, secrets: Secrets, to: str, stretches: Sequence[Stretch], *, form: Format, size: int
) -> Exported:
    """Write the stretches, each of another chain, into the folder `to` (any fsspec URL), which holds no export yet."""
    with _explained(to):
        place = await asyncio.to_thread(_Place, to)
        await asyncio.to_thread(place.claim)
        files = [listed for stretch in stretches for listed in await _write(store, place, form, stretch, size)]
        heads = {stretch.chain: _Head(seq=stretch.head[0], mac=stretch.head[1]) for stretch in stretches}
        manifest = _Manifest(fingerprint=secrets.fingerprint, files=files, heads=heads)
        manifest.mac = manifest.sign(secrets.audit_key)
        body = orjson.dumps(manifest.model_dump(), option=orjson.OPT_INDENT_2)
        await asyncio.to_thread(place.put, _MANIFEST, body)
    return Exported(len(files), sum(listed.records for listed in files))


async def _write(store: Store, place: _Place, form: Format, stretch: Stretch, size: int) -> list[_Listed]:
    done: list[_Listed] = []
    draft: _Draft | None = None
    before = stretch.before
    try:
        async for page in pages(store, stretch, size):
            for month, records in _months(page, draft.month if draft else ""):
                if draft is None or draft.month != month:
                    if draft:
                        done.append(await asyncio.to_thread(draft.finish))
                    draft = await asyncio.to_thread(_Draft, place, form, stretch.chain, month, before)
                await asyncio.to_thread(draft.write, records)
                before = records[-1].mac
        if draft:
            done.append(await asyncio.to_thread(draft.finish))
    except BaseException:
        if draft:
            draft.drop()
        raise
    return done


def _months(records: Sequence[Record], month: str) -> list[tuple[str, list[Record]]]:
    runs: list[tuple[str, list[Record]]] = []
    for record in records:
        # Never back to an earlier one, where one gateway's clock is behind another's: a file is one run of the chain.
        month = max(month, _month(record.at))
        if not runs or runs[-1][0] != month:
            runs.append((month, []))
        runs[-1][1].append(record)
    return runs


def _month(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m")
    except (OverflowError, ValueError, OSError):  # a time that was tampered with: it is evidence, and goes out too
        return "0000-00"


# -- checking ------------------------------------------------------------------------------------


async def verify(store: Store, secrets: Secrets, url: str, size: int) -> Verification:
    """Check every export in the folder `url` and below, and against the database where that holds any chain."""
    with _explained(url):
        place = await asyncio.to_thread(_Place, url)
        manifests = await asyncio.to_thread(place.manifests)
    if not manifests:
        raise LedgerError(f"There is no audit export at {shown(url)}: name the folder of a {_MANIFEST}.")
    known = await store.read(lambda connection: connection.execute(select(chains.c.id).limit(1)).first())
    check = _Check(place, secrets, store if known else None, size)
    for path in manifests:
        with _explained(url):
            await check.manifest(path)
    return check.result()


class _Check:
    """store: None, where there is no database to compare with."""

    def __init__(self, place: _Place, secrets: Secrets, store: Store | None, size: int) -> None:
        self._place, self._secrets, self._store, self._size = place, secrets, store, size
        self._found = Findings()
        self._seen: set[str] = set()

    def result(self) -> Verification:
        self._found.chains = len(self._seen)
        return self._found.done()

    async def manifest(self, path: str) -> None:
        """Check one export."""
        try:
            manifest = _Manifest.model_validate_json(await asyncio.to_thread(self._place.fs.cat_file, path))
        except ValidationError:
            return self._add("*", None, f"{path} was changed: it is no manifest")
        if manifest.fingerprint != self._secrets.fingerprint:
            return self._add("*", None, wrong_secret(f"the export {path}", manifest.fingerprint, self._secrets))
        if manifest.mac != manifest.sign(self._secrets.audit_key):
            self._add("*", None, f"{path} was changed: its mac is not that of its text")
        for chain, head in manifest.heads.items():
            await self._head(chain, head)
        for listed in manifest.files:
            self._seen.add(listed.chain)
            await self._file(f"{path.rpartition('/')[0]}/{listed.name}", listed)
        return None

    async def _file(self, path: str, listed: _Listed) -> None:
        try:
            if await asyncio.to_thread(self._place.sha256, path) != listed.sha256:
                self._add(listed.chain, listed.first, f"the file {path} was changed: its sha256 is another")
            walk = Walk(self._secrets.audit_key, listed.chain, listed.first - 1, listed.before)
            read = self._place.read(path, self._size)
            while records := await asyncio.to_thread(next, read, None):
                for record in records:
                    self._found.add(walk.step(record))
                self._found.records += len(records)
                await self._compare(listed.chain, records)
        except FileNotFoundError:
            self._add(listed.chain, listed.first, f"the file {path} is missing")
        except (OSError, ValueError, TypeError) as error:
            self._add(listed.chain, listed.first, f"the file {path} cannot be read: {error}")

    async def _head(self, chain: str, head: _Head) -> None:
        held = await self._held(chain, [head.seq])
        if held is None:
            self._add(chain, None, "the database does not have this chain")
        elif head.seq > 0 and held.get(head.seq, head.mac) != head.mac:
            self._add(chain, head.seq, "the database holds another record than when this was exported, or none")

    async def _compare(self, chain: str, records: Sequence[Record]) -> None:
        held = await self._held(chain, [record.seq for record in records])
        for record in records:
            if held and held.get(record.seq, record.mac) != record.mac:
                self._add(chain, record.seq, "the database holds another record than this file, or none")

    async def _held(self, chain: str, seqs: Sequence[int]) -> dict[int, str] | None:
        """The macs that the database holds, by seq: empty where one is gone, left out where it was pruned.

        None where the database does not have the chain.
        """
        if self._store is None:
            return {}
        where = (audit.c.chain == chain, audit.c.seq >= seqs[0], audit.c.seq <= seqs[-1])
        query = select(audit.c.seq, audit.c.mac).where(*where).order_by(audit.c.seq).limit(len(seqs))

        def work(connection: Connection) -> dict[int, str] | None:
            macs = {row.seq: row.mac for row in connection.execute(query)}
            # Read last: what a prune takes meanwhile is behind the base.
            base = connection.execute(select(chains).where(chains.c.id == chain)).first()
            if base is None:
                return None
            macs[base.base_seq] = base.base_mac
            return {seq: macs.get(seq, "") for seq in seqs if seq >= base.base_seq}

        return await self._store.read(work)

    def _add(self, chain: str, seq: int | None, what: str) -> None:
        self._found.add(Fault(chain, seq, what))


def wrong_secret(what: str, signer: str, secrets: Secrets) -> str:
    """Says that `what` was signed with another secret."""
    return (
        f"{what} is signed with another secret (fingerprint {signer}) than this one ({secrets.fingerprint}): "
        "set PENSTOCK_SECRET to the one that its gateways have"
    )
