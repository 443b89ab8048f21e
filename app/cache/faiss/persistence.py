"""Keep a semantic cache over restarts: a log of its changes, and now and then a snapshot in place of the log.

FaissIndex -> [Persistence] -> Place. All of it happens in a thread of its own; a call only leaves a record in a queue.
A store that fails costs nothing but the next restart: it is said once, the cache serves on from memory, and when the
store works again, a snapshot makes up for what it missed. A snapshot is copied a few entries at a time between calls.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol, TypeVar

from app.cache.faiss.files import Place
from app.cache.faiss.keys import belonging
from app.cache.faiss.partition import Slot
from app.cache.faiss.records import Change, EntryRecord, Evidence, Forgotten, Tried
from app.cache.faiss.recovery import Replay, replay
from app.cache.faiss.wal import ABOUT, Writer
from app.installation.secrets import Secrets

log = logging.getLogger(__name__)
T = TypeVar("T")
FLUSH = 0.5  # seconds from a change to its writing: what a killed process loses
PATIENCE = 10.0  # seconds that a start waits for the store; what comes later is taken in beside the calls
PIECE = 16  # entries copied, or put back, between two calls
QUEUE = 1 << 26  # bytes of changes that may wait; with more, a snapshot is due


class Source(Protocol):
    """What persistence asks of the index; all but `ask` is called by `ask`, between calls."""

    def ask(self, work: Callable[..., T], *args: object) -> T: ...
    def state(self) -> tuple[int, list[Slot], dict[str, Tried]]: ...
    def copies(self, slots: Sequence[Slot]) -> list[EntryRecord]: ...
    def take(self, entries: Sequence[EntryRecord]) -> None: ...
    def taught(self, evidence: Mapping[str, Tried], serial: int) -> None: ...


class Persistence:
    """saving: whether the store takes what is written. retry: seconds until a store that failed is tried again."""

    def __init__(self, place: Place, source: Source, dim: int, encoder: str, *, sealed: bool) -> None:
        self.saving = True
        self.retry = 30.0
        self._place = place
        self._source = source
        self._vectors = dim, encoder
        self._sealer = Secrets.load().sealer if sealed else None
        self.writer = Writer(place, dim, encoder, self._sealer)
        self._queue: deque[Change] = deque()
        self._put = self._took = 0  # bytes that went into the queue, about, and that came out
        self._noted = self._kept = 0  # changes told of, and those of them that the store has
        self._missed: list[Forgotten] = []  # before the files were read
        self._opened = False
        self._owes = False  # a change never reached the log: only a snapshot helps
        self._again = 0.0
        self._flushed = 0.0
        self._wake, self._first, self._stop = threading.Event(), threading.Event(), threading.Event()
        self._done = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="cache-keeper", daemon=True)

    def start(self) -> None:
        """Read what is there; where that takes long, go on without it."""
        self._thread.start()
        atexit.register(self.close)
        self._first.wait(PATIENCE)

    def wait(self, patience: float) -> bool:
        """Wait until the store has all changes so far; False where it fails or takes longer (seconds)."""
        noted = self._noted
        self._wake.set()
        with self._done:
            self._done.wait_for(lambda: self._kept >= noted or not self.saving, patience)
            return self._kept >= noted

    def close(self) -> None:
        """Write what waits, and end."""
        atexit.unregister(self.close)
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(PATIENCE)

    # -- in the source's thread ------------------------------------------------------------------

    def note(self, change: Change) -> None:
        """A change to be written. Never waits."""
        if not self._opened and isinstance(change, Forgotten):
            self._missed.append(change)
        if not self._opened or self._owes or self._put - self._took + _size(change) > QUEUE:
            self._owes = True
        else:
            self._queue.append(change)
            self._put += _size(change)
        self._noted += 1  # last: what is counted can be seen in the queue

    def rewrite(self) -> None:
        """Soon replace every file, so that what was forgotten is in none."""
        self._owes = True
        self._noted += 1  # `wait` waits for it
        self._wake.set()

    def _give(self, entries: Sequence[EntryRecord]) -> None:
        """Hand over what was read, but for what was to be forgotten meanwhile."""
        forgotten = [belonging(gone.tenant, gone.model, gone.version) for gone in self._missed]
        self._source.take([kept for kept in entries if not any(told(kept.partition) for told in forgotten)])

    def _begin(self, found: Replay) -> None:
        """All is handed over: from here on, changes are logged."""
        whole = [gone.tenant for gone in self._missed if gone.model is None and gone.version is None]
        known = {tenant: tried for tenant, tried in found.evidence.items() if not {None, tenant} & set(whole)}
        self._source.taught(known, found.serial)
        self._missed.clear()
        self._owes = self._owes or found.odd
        self._opened = True

    def _settle(self) -> tuple[int, tuple[int, list[Slot], dict[str, Tried]]]:
        """From here on, changes are the log's; those before are the snapshot's."""
        self._owes = False
        self._queue.clear()
        self._took = self._put
        return self._noted, self._source.state()

    # -- in its own thread -----------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            self._turn()
            self._first.set()
            self._wake.wait(FLUSH if self._place.local or not self._opened else 10 * FLUSH)
            self._wake.clear()
        self._again = 0.0
        self._turn()
        with contextlib.suppress(Exception):
            self.writer.shut()
        self._place.close()

    def _turn(self) -> None:
        if time.monotonic() < self._again:
            return
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - every file system has errors of its own
            self._failed(error)
        else:
            if not self.saving:
                log.info("semantic cache: %s works again", self._place.url)
            self._tell(saving=True)

    def _work(self) -> None:
        if not self._opened:
            self._open()
        if self._owes or self.writer.long:
            noted, (serial, slots, evidence) = self._source.ask(self._settle)
            self.writer.snapshot(serial, self._everything(slots, evidence))
            self._kept = noted
        else:
            noted = self._noted
            self._flush()
            self._kept = self._kept if self._owes else noted

    def _failed(self, error: Exception) -> None:
        self._again = time.monotonic() + self.retry
        self._owes = True
        with contextlib.suppress(Exception):  # it failed: that is what is being told
            self.writer.shut()
        if self.saving:
            why = str(error) or type(error).__name__
            log.warning("semantic cache: not saved, it serves on from memory: %s: %s", self._place.url, why)
        self._tell(saving=False)

    def _tell(self, *, saving: bool) -> None:
        with self._done:
            self.saving = saving
            self._done.notify_all()

    def _open(self) -> None:
        """Read the files, and hand the index what it does not hold yet."""
        self._place.open()
        sealer = self._sealer
        unseal = (lambda data: sealer.open(data, ABOUT)) if sealer else None
        names = self._place.names()
        found = replay(self._place, names, *self._vectors, unseal)
        self.writer.after(names)
        keys = iter(list(found.entries))
        while piece := [found.entries.pop(key) for key in islice(keys, PIECE)]:
            self._source.ask(self._give, piece)
        self._source.ask(self._begin, found)

    def _flush(self) -> None:
        """Write what waits to the log."""
        self._flushed = time.monotonic()
        self.writer.log([self._next() for _ in range(len(self._queue))])

    def _next(self) -> Change:
        change = self._queue.popleft()
        self._took += _size(change)
        return change

    def _everything(self, slots: list[Slot], evidence: dict[str, Tried]) -> Iterator[EntryRecord | Evidence]:
        for tenant, tried in evidence.items():
            yield Evidence(tenant, tried)
        for at in range(0, len(slots), PIECE):
            yield from self._source.ask(self._source.copies, slots[at : at + PIECE])
            time.sleep(0.001)  # the calls' turn: this thread would else keep Python to itself
            if time.monotonic() - self._flushed > FLUSH:
                self._flush()


def _size(change: Change) -> int:
    return len(change.entry) + len(change.vector) if isinstance(change, EntryRecord) else 0
