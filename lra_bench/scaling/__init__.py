"""Compile efficiency records into rows, fits, tables and figures."""
