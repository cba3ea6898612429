"""A stream that goes on: its rows, recordings, events and page while it runs."""
