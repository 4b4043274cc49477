"""Binarized and grey digits."""
