"""Penstock's domain: events, stages, rules, ports and the HTTP surface. Never imports ray."""
