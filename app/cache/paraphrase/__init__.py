"""The paraphrase judge: whether two questions ask the same."""
