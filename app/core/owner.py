"""Whose a thing is that is kept between requests.  keys -> Principal -> [owner] -> whatever keeps.

One rule for all of it: files, batches, stored responses, calls. A key sees what keys of its own project made, and
nobody else's; keys without a project are the tenant's own and see what those made.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Owner:
    """project: empty is the tenant's own."""

    tenant: str
    project: str
