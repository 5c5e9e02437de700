"""What people see: progress, units, tables, figures."""
