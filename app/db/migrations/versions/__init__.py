"""The steps of the schema, in the order of their `down_revision`. A step that was released never changes."""
