"""One run over one video: what is asked, what is written, what became of it."""
