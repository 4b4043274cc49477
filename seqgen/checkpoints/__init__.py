"""Checkpoints: the folder on disk, its model card, and the bundled models."""
