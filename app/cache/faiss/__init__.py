"""The semantic cache's store: vectors in FAISS, entries beside them, a write-ahead log on disk."""
