"""The installation on one machine: its folders and the one secret that everything is derived from."""
