"""The audit log: records in a hash chain, their sealed contents, exports that prove themselves."""
