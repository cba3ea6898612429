"""Pixels in: decoding, pairing and resizing frames."""
