"""Speech, synthetic or recorded."""
