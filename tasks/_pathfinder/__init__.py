"""Pathfinder and Path-X: the generator, the reader of the release, and what both tasks share."""
