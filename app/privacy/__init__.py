"""Personal data: where it stands in a text, and what stands in for it."""
