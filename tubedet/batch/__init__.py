"""More than one video, in turn or several at a time."""
