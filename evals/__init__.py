"""Figures of the five judges on data of one's own: `make eval DATA=folder`. evals/README.md has the formats."""
