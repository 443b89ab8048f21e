"""Wraps adapters as Serve deployments, and turns handles back into ports. No business rules."""
