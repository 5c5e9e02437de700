"""The Python interface, which `import lra_bench` gives names to."""
