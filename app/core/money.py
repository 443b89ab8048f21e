"""Money is exact: decimals with nine places, the smallest unit of the ledger."""

from __future__ import annotations

from decimal import Decimal

NANO = Decimal("1e-9")
"""The smallest amount that is billed, of the currency's unit."""
