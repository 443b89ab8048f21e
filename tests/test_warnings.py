"""What is deprecated is a fault in our own modules, and other people's business in theirs."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = sorted({file.parent.name for file in ROOT.glob("*/*.py")})
KINDS = (DeprecationWarning, FutureWarning)


def warn(module: str, kind: type[Warning]) -> None:
    """Warn as if a line of that module did what is deprecated."""
    warnings.warn_explicit("old", kind, "file.py", 1, module=module, registry={})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("package", OURS)
def test_every_package_of_ours_fails_on_it(package: str, kind: type[Warning]) -> None:
    for module in (package, f"{package}.part"):
        with pytest.raises(kind, match="old"):
            warn(module, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("module", ["ray.serve", "torch", "application", "evalset.app"])
def test_other_peoples_do_not(module: str, kind: type[Warning]) -> None:
    warn(module, kind)
