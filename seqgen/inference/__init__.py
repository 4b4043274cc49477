"""Sampling, scoring and likelihood-based anomaly detection."""
