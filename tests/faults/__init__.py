"""Faults, a file for each family of them: what is lost is what must be, and it is said."""
