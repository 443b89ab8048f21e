"""Judges of prompts and answers: injection, toxicity, leaks; and reading text as it is meant."""
