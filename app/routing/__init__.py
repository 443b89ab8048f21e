"""Which tier a prompt needs and which pool answers."""
