"""Read, write and lock files; a reader never sees half of one."""
