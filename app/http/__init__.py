"""OpenAI's HTTP surface over the gateway."""
