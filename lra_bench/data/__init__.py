"""Data: download, prepare and check a task's examples, and make batches of them."""
