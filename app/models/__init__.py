"""Models by source, ready on this machine's disk, and the small networks that several judges share."""
