"""The model that every task and every attention share, and its layers."""
