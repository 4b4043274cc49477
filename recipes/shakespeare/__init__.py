"""Plays by William Shakespeare."""
