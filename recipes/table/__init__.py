"""Tables of numbers: wine measurements, and any CSV file."""
