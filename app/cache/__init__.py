"""The semantic cache: what may be cached, what counts as the same question, and how that is proven."""
