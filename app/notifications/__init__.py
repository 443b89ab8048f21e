"""Telling tenants: an outbox in the database, subscriptions, signed webhooks."""
