"""`light`: a two-stream detector of our own, for two CPU cores."""
