"""The recipes: one folder for each experiment, with its settings and, where it needs one, its corpus."""
