"""Reserve, then settle: atomic over all gateways, every call billed exactly once."""
