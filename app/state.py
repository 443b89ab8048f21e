"""Where this machine's durable state lies, and the development key in it."""

from __future__ import annotations

import os
import secrets
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
    """The configured SQLAlchemy URL, or SQLite in the state folder."""
    return configured or f"sqlite:///{folder() / 'penstock.db'}"


def development_key() -> str:
    """The machine's own key for trying things out: made once, kept readable to its owner alone."""
    file = folder() / "development.key"
    try:
        with os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as new:
            new.write(f"sk-dev-{secrets.token_urlsafe(24)}")
    except FileExistsError:
        pass
    return file.read_text(encoding="utf-8").strip()
