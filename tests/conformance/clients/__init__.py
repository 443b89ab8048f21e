"""Clients of other people, unmodified, against the real graph: which of them work, as a table."""
