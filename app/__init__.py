"""Penstock's domain: events, rooms, rules, ports and the HTTP surface. Never imports ray."""
