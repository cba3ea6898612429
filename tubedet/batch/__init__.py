"""More than one video, in turn."""
