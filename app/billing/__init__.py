"""Prices, costs, budgets, rate limits, invoices, reports."""
