"""Training: one run, from settings to its record."""
