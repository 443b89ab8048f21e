"""HTTP: OpenAI's and Anthropic's APIs, the admin API and operations, over the gateway."""
