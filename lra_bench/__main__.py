"""`python -m lra_bench` is `lra-bench`."""

import sys

from lra_bench.cli import main

sys.exit(main())
