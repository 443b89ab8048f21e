"""Summaries of conversations, which clients carry sealed.  Responses API -> [compactions] -> installation's secret.

Nothing is kept: whoever sends the text back gets it opened, if it was sealed for the same owner.
"""

from __future__ import annotations

import base64
import binascii

from app.core.owner import Owner
from app.installation.secrets import Sealer, SealError


class Compactions:
    """sealer: of the installation, so that every gateway of it opens what another one sealed."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def seal(self, owner: Owner, text: str) -> str:
        """The text, unreadable and unchangeable for whoever carries it."""
        return base64.urlsafe_b64encode(self._sealer.seal(text.encode(), _about(owner))).decode()

    def open(self, owner: Owner, sealed: str) -> str | None:
        """The text; None: it was not sealed here for this owner, or was changed."""
        try:
            return self._sealer.open(base64.urlsafe_b64decode(sealed.encode()), _about(owner)).decode()
        except (SealError, binascii.Error, ValueError):
            return None


def _about(owner: Owner) -> str:
    return f"compaction {len(owner.tenant)} {owner.tenant} {owner.project}"
