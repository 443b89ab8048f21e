"""Pure arithmetic: no I/O, no clock of its own."""
