"""Where audit exports may lie: below the folders that the config names.  admin API -> [roots].

An export writes files with the gateway's rights, and checking one tells whether a path is there.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from app.core.refusals import UnfitError

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://")


def check_root(url: str, roots: Sequence[str] | None) -> None:
    """roots: URLs or paths of folders; None: anywhere. Raises UnfitError for a url that is not in or below one."""
    if roots is None or any(_below(_place(url), _place(root)) for root in roots):
        return
    known = ", ".join(f"`{root}`" for root in roots) or "none"
    raise UnfitError(
        f"Audit exports lie below `state.exports` of the graph's config alone ({known}): choose a folder there."
    )


def _place(url: str) -> tuple[str, str] | None:
    """Scheme and host, and the path without `..`; None for what is no absolute path or plain URL."""
    if "::" in url or "\0" in url or "\\" in url:  # fsspec chains file systems with `::`
        return None
    if not _SCHEME.match(url):
        url = f"file://{url}" if url.startswith("/") else ""
    try:
        parts = urlsplit(url)
        has_user = parts.username is not None
    except ValueError:
        return None
    if not parts.scheme or has_user or parts.query or parts.fragment or unquote(parts.path) != parts.path:
        return None
    if ".." in parts.path.split("/"):
        return None
    return f"{parts.scheme}://{parts.netloc}", posixpath.normpath(parts.path or "/")


def _below(place: tuple[str, str] | None, root: tuple[str, str] | None) -> bool:
    if place is None or root is None or place[0] != root[0]:
        return False
    return place[1] == root[1] or place[1].startswith(root[1].rstrip("/") + "/")
