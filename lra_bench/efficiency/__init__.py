"""Measure time, memory and where memory ends, in fresh processes; or compile for elsewhere."""
