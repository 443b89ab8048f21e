"""Make bundled models ready to load: checked, converted once into the cache, whole or absent.  cli, tests -> [prepare].

models/catalog.py says which model is where and which recipe converts it; the recipes stand beside what they convert.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.cache.paraphrase.convert import pairs
from app.models.catalog import CATALOG, STAMP, checked, find, intact, prepared_folder
from app.models.convert import Recipe, adapted, detoxify, injection, smollm2
from app.models.errors import ModelError

Report = Callable[[str, float, str], None]
RECIPES: dict[str, Recipe] = {
    "smollm2": smollm2,
    "detoxify": detoxify,
    "adapted": adapted,
    "injection": injection,
    "pairs": pairs,
}
"""What converts a bundled model into the format that its library loads, by the name in the catalog."""


def prepare(sources: Iterable[str], report: Report = lambda _name, _fraction, _what: None) -> None:
    """Make every bundled model among `sources` ready to load; other sources are left alone.

    Safe to interrupt, to repeat and to run in two processes at once. report: name, fraction 0..1, what is happening.
    Raises ModelError: unknown, missing or altered files, or no room on the disk.
    """
    for name in dict.fromkeys(s.removeprefix("bundled:") for s in sources if s.startswith("bundled:")):
        recipe = find(name).recipe
        if recipe is None:
            checked(name)
        elif not intact(prepared_folder(name)):
            _build(name, recipe, report)
        report(name, 1.0, "ready")


def _build(name: str, recipe: str, report: Report) -> None:
    """Convert into a folder beside, then rename: the prepared folder is whole or absent at any moment."""
    folder, model = prepared_folder(name), CATALOG[name]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder.parent / f"{name}.lock", lambda: report(name, 0.0, "waiting for another process")):
            if intact(folder):
                return
            for abandoned in folder.parent.glob(f"{name}.partial-*"):
                shutil.rmtree(abandoned)
            _check_space(name, folder.parent)
            report(name, 0.0, "checking hashes")
            sources = [checked(part) for part in (name, *model.also)]
            partial = Path(tempfile.mkdtemp(prefix=f"{name}.partial-", dir=folder.parent))
            try:
                RECIPES[recipe](sources, partial, folder, lambda part, what: report(name, part, what))
                report(name, 0.95, "writing to disk")
                _seal(partial)
                shutil.rmtree(folder, ignore_errors=True)
                partial.rename(folder)
                _sync(folder.parent)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(name, folder.parent) from error
        message = f"bundled model `{name}`: {error}: set PENSTOCK_CACHE to a folder this user can write"
        raise ModelError(message) from error


def _check_space(name: str, where: Path) -> None:
    if shutil.disk_usage(where).free < CATALOG[name].needs:
        raise _no_space(name, where)


def _no_space(name: str, where: Path) -> ModelError:
    needed, free = CATALOG[name].needs / 1e6, shutil.disk_usage(where).free / 1e6
    return ModelError(
        f"bundled model `{name}` needs {needed:.0f} MB in {where}, where {free:.0f} MB are free: "
        "make room, or set PENSTOCK_CACHE to a folder on a larger disk"
    )


@contextmanager
def _alone(lock: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file. The system frees it when the process ends, however it ends."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _seal(folder: Path) -> None:
    """Write the stamp, make the files readable for others (libraries write 0600) and push them to the disk."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    (folder / STAMP).write_text(json.dumps({str(path.relative_to(folder)): path.stat().st_size for path in files}))
    folder.chmod(0o755)
    for path in (*files, folder / STAMP):
        path.chmod(0o644)
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
