"""Anthropic's Messages API over the same rooms: route -> wire -> gateway -> answer, and faults in its own shape."""
