"""How fast it is, and on what machine."""
