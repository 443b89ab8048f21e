"""OpenAI's endpoints, one module or package each."""
