"""One HTML page of tables, figures and provenance, and the figures beside it as PNG.

The page needs nothing from elsewhere: its style, its script and its figures are in it, and all can
be read without the script.
"""

from lra_bench.report.build import FILE, write
from lra_bench.report.inputs import Material, gather

__all__ = ["FILE", "Material", "gather", "write"]
