"""How many examples a property is tried with.  Property tests -> [examples]; `--part quick` takes fewer."""

from __future__ import annotations

from hypothesis import settings

FEW = 10


def examples(count: int) -> int:
    """`count`, and under the profile `quick` (tests/conftest.py) FEW."""
    return min(count, FEW) if settings.get_current_profile_name() == "quick" else count
