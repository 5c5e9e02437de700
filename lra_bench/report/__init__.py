"""One HTML page of tables, figures and provenance, and the figures beside it as PNG.

The page needs nothing from elsewhere: its style, its script and its figures are in it, and all can
be read without the script.
"""

from lra_bench.report.material import Material, gather
from lra_bench.report.site import FILE, write

__all__ = ["FILE", "Material", "gather", "write"]
