"""The network, in pure torch: no file, no video, no printing."""
