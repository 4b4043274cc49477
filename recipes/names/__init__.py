"""US baby names."""
