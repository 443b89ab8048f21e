"""What the API keeps between requests: idempotent answers and stored responses."""
