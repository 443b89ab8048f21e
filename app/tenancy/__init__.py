"""Tenants, projects, keys, plans: who may call, on which terms."""
