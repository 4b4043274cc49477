"""The wiki markup of Wikipedia."""
