"""Recipes: one folder per dataset, with training configurations (YAML) and, if needed, code that prepares the data."""
