"""Records of runs compiled into tables of accuracy."""
