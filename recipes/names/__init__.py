"""American baby names."""
