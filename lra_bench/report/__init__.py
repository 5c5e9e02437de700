"""The report: one HTML page of tables, figures and provenance that loads nothing else."""
