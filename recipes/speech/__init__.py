"""Speech: a synthetic voice, or recordings."""
