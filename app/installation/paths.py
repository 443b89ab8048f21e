"""Where this machine's durable state lies, and the development key in it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path


class StateError(OSError):
    """The state folder cannot be used; the message names it and the fix."""


def folder() -> Path:
    """`PENSTOCK_STATE`, else `$XDG_STATE_HOME/penstock`, else `~/.local/state/penstock`; made when missing."""
    given = os.environ.get("PENSTOCK_STATE")
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    place = Path(given).expanduser() if given else base / "penstock"
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StateError(f"cannot make the state folder {place}: {error.strerror}. Set PENSTOCK_STATE.") from error
    return place


def database_url(configured: str | None) -> str:
    """The configured SQLAlchemy URL, else `PENSTOCK_DATABASE` (a password stays out of the file), else SQLite in the
    state folder.
    """
    return configured or os.environ.get("PENSTOCK_DATABASE") or f"sqlite:///{folder() / 'penstock.db'}"


def files_url(configured: str | None) -> str:
    """The configured fsspec URL of files, or a folder in the state folder."""
    return configured or str(folder() / "files")


def exports_folders(configured: Sequence[str] | None) -> tuple[str, ...]:
    """The configured folders of audit exports, or one in the state folder."""
    return (str(folder() / "exports"),) if configured is None else tuple(configured)


def once(name: str, make: Callable[[], str]) -> str:
    """A file of one line in the state folder, readable to its owner alone: made once, then read."""
    file = folder() / name
    if not file.exists():
        draft = file.with_name(f".{name}.{secrets.token_hex(8)}")
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as new:
            new.write(make())
        try:
            os.link(draft, file)  # whole or not at all: another process may be reading
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return file.read_text(encoding="utf-8").strip()


def development_key() -> str:
    """The machine's own key for trying things out."""
    return once("development.key", lambda: f"sk-dev-{secrets.token_urlsafe(24)}")


def admin_key() -> str:
    """The key of /admin/v1: `PENSTOCK_ADMIN_KEY`, else this machine's own."""
    return os.environ.get("PENSTOCK_ADMIN_KEY") or once("admin.key", lambda: f"sk-admin-{secrets.token_urlsafe(32)}")
