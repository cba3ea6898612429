"""Data sets to training samples."""
