"""A benchmarking harness for efficient attention on the Long Range Arena."""

__version__ = "0.2.0"
