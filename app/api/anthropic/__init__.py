"""Anthropic's Messages API over the same stages: route -> wire -> gateway -> answer, and faults in its own shape."""
