"""Speed, memory and running out of it: measured in fresh processes, or compiled for elsewhere."""
