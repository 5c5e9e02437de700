"""Pathfinder and Path-X: their generator, their reader of the release, and their base class."""
