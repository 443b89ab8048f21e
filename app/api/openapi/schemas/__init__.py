"""What the API answers, as the OpenAPI document says it. Closed where it can be: tests hold real answers to them."""
