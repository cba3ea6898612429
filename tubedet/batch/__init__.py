"""More than one video: in turn, and on several machines."""
