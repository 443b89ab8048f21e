"""Turns a validated config into a bound Serve application."""
