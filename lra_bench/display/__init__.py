"""Output for people: progress, units, tables, figures."""
