"""Wiki markup of Wikipedia pages."""
