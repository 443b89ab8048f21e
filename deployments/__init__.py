"""Wraps adapters as Serve deployments, and turns handles back into ports. No business rules."""

from deployments import loopback

loopback.install()  # a replica's process imports its deployment from here before its server starts
