"""Build the site of the documents: copy the pages to build/pages, then let Zensical build them.

The pages link to each other, and to files of the repository, by paths that work on GitHub. The copy
keeps these paths, so the same links work in the site.

    pip install -e '.[docs]' && python docs/site.py    # then open build/site/index.html
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
CONFIG = ROOT / "docs/zensical.toml"
# The pages of the site, and its script; files that pages link to, such as figures, come with them.
_PATTERNS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md", "results/**/*.md")
_SCRIPTS = "docs/*.js"
_LINK = re.compile(r"\]\(([^)#\s]+)")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_ENTRY = re.compile(r'^ *\{ ".*" = "(.*\.md)" \},$')


def pages() -> list[Path]:
    """Return the pages of the site."""
    return sorted(path for pattern in _PATTERNS for path in ROOT.glob(pattern))


def listed(config: str) -> list[str]:
    """Return the pages that the navigation of a configuration lists, in order."""
    return [found[1] for line in config.splitlines() if (found := _ENTRY.match(line))]


def linked(page: Path) -> Iterator[Path]:
    """Return the files of the repository that a page links to."""
    for target in _LINK.findall(_FENCE.sub("", page.read_text())):
        path = (page.parent / target).resolve()
        if "://" not in target and path.is_relative_to(ROOT) and path.is_file():
            yield path


def copy_pages() -> None:
    """Copy the pages, and what they link to, to build/pages."""
    shutil.rmtree(BUILD / "pages", ignore_errors=True)
    found = pages()
    for path in {*found, *ROOT.glob(_SCRIPTS), *(file for page in found for file in linked(page))}:
        copy = BUILD / "pages" / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def copy_config() -> None:
    """Copy the configuration to build/, without the pages that are not there."""
    lines = CONFIG.read_text().splitlines(keepends=True)
    kept = [
        line
        for line in lines
        if not (found := _ENTRY.match(line.rstrip())) or (ROOT / found[1]).is_file()
    ]
    (BUILD / CONFIG.name).write_text("".join(kept))


def main() -> int:
    """Build the site and return the exit status: 1 if a link or a page is broken."""
    copy_pages()
    copy_config()
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run([*command, "-f", str(BUILD / CONFIG.name)]).returncode


if __name__ == "__main__":
    sys.exit(main())
