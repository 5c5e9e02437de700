"""One HTML page of tables, figures and provenance; it needs nothing from elsewhere."""
