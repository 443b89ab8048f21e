"""Personal data found with Presidio: patterns, checksums, phones, identifiers, names."""
