"""Which names of a call may come back within a link.  scrub -> [links] -> restorer.

A link that somebody else planted (a tool's result, a pasted document) must not carry the caller's data away when it is
opened or its image is loaded. Where such text is in the conversation, a name comes back in a link only if the very same
link stood there with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from app.core.placeholders import PLACEHOLDER

MOST = 10_000
"""Links with a name in them that are remembered of one conversation."""
_NAME = r"<[A-Z][A-Z_]*_\d+>"
_RUN = rf"(?:[^\s\"<>]|{_NAME})*"
_ATTRIBUTE = r"(?:href|src|srcset|action|formaction|poster|data|cite|background|content|ping|style)\s*=\s*\\?"
_LINK = re.compile(
    rf"(?:\]\(\s*<(?P<angled>(?:[^<>]|{_NAME})*)"
    rf"|{_ATTRIBUTE}\"(?P<double>(?:[^\"<>]|{_NAME})*)"
    rf"|{_ATTRIBUTE}'(?P<single>(?:[^'<>]|{_NAME})*)"
    rf"|(?:\]\(\s*|\]:\s*|{_ATTRIBUTE}|url\(\s*[\"']?)(?P<target>{_RUN})"
    rf"|(?P<plain>(?:[A-Za-z][A-Za-z0-9+.-]{{1,20}}:\\?/|//|www\.|(?:[A-Za-z0-9-]{{1,63}}\.){{1,8}}[A-Za-z]{{2,24}}[/?#:]){_RUN}))\Z"
)
_OWN = re.compile(r"(?:mailto:|tel:|sms:)?\Z", re.IGNORECASE)
_WHOLE = frozenset({"URL", "EMAIL_ADDRESS", "PHONE_NUMBER"})
"""Types of which an original may be the whole link."""
TAIL = 2048


def link(before: str) -> str | None:
    """The link that is still open at the end of this line, up to there; None: there is none."""
    found = _LINK.search(before)
    return next((part for part in found.groups() if part is not None), "") if found else None


class KnownLinks:
    """Links of a conversation, up to each name in them."""

    def __init__(self, texts: Iterable[str]) -> None:
        """texts: as the engine sees them."""
        self._known: set[str] = set()
        for text in texts:
            for found in PLACEHOLDER.finditer(text):
                if len(self._known) >= MOST:
                    return
                start = max(text.rfind("\n", 0, found.start()) + 1, found.start() - TAIL)
                open_ = link(text[start : found.start()])
                if open_:
                    self._known.add(open_ + found[0])

    def forbid(self, before: str, name: str) -> bool:
        """Whether this name stays as it is. before: the line up to it, as the model wrote it."""
        open_ = link(before[-TAIL:])
        if open_ is None or open_ + name in self._known:
            return False
        whole = PLACEHOLDER.fullmatch(name) and name[1:-1].rpartition("_")[0] in _WHOLE
        return not (whole and _OWN.match(open_))
