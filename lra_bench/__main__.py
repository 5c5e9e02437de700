"""`python -m lra_bench` is `lra-bench`."""

import sys

# The commands that compute in their own process; others start processes that do.
_COMPUTING = ("run", "analyze")


def main() -> int:
    """Run the command line and return its exit status, also if it is interrupted as it starts."""
    try:
        if sys.argv[1:2] and sys.argv[1] in _COMPUTING:
            from lra_bench.runtime import huge_pages

            huge_pages.restart()
        from lra_bench.cli import main as run

        return run()
    except KeyboardInterrupt:
        print("lra-bench: interrupted", file=sys.stderr)
        return 1
    finally:
        # Python ends by the signal, not with the status, if the interrupted code was made from
        # text, as that of a dataclass is. It forgets this when it runs another text.
        exec("")


if __name__ == "__main__":
    sys.exit(main())
