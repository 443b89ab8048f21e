"""Ports implemented with real libraries, one module each, and the fakes that ship with them."""
