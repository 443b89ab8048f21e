"""The words that every other package speaks: events, calls, ports, errors. Imports nothing of ours."""
