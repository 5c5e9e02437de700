"""From a task's source to batches on the devices."""
