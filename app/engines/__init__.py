"""What generates: upstream APIs, their event streams, token counts, and answers that resume elsewhere."""
