"""Records, metrics and answers of runs, written to disk and read back."""
