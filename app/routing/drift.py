"""Whether the tiers' live shares of `auto` calls are still near their target. Pure counting, in one process."""

from __future__ import annotations

from collections.abc import Mapping


class Drift:
    """Shares over about the last `window` calls: each call's weight fades by 1/window with every further one.

    shares: the target, by tier; empty: nothing is judged. margin: how far a share may stray, 0..1.
    """

    def __init__(self, shares: Mapping[str, float], margin: float, window: int) -> None:
        self._shares = shares
        self._margin = margin
        self._window = window
        self._live = dict(shares)  # as if all before had been on target
        self._counted = 0
        self.out = 0.0
        """How far the worst share has strayed, 0..1, while that is beyond the margin; else 0."""

    @property
    def live(self) -> Mapping[str, float]:
        """The shares now, by tier."""
        return self._live

    def count(self, tier: str) -> bool:
        """Take one decision in; whether that switched the alarm on or off."""
        if not self._shares:
            return False
        fade = 1 / self._window
        self._live = {name: share * (1 - fade) + fade * (name == tier) for name, share in self._live.items()}
        self._counted += 1
        astray = max(abs(share - self._shares[name]) for name, share in self._live.items())
        before, self.out = self.out, 0.0
        if self._counted >= self._window and astray > self._margin:
            self.out = astray
        return bool(before) != bool(self.out)
