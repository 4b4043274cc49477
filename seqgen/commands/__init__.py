"""What the commands do; torch, and what is built on it, is imported once one of them runs."""
