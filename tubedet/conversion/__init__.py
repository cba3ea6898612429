"""From the rows of one file into other formats, and back."""
