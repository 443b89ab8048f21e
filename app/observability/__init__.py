"""Metrics, traces and logs of calls. Facts and counts, never text."""
