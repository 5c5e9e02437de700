"""Efficiency records compiled into rows, fits, tables and figures."""
