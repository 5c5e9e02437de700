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
CONFIG = ROOT / "docs/zensical.toml"
# The pages of the site; files that they link to, such as figures, come with them.
_PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md", "results/**/*.md")
_LOOKS = ("docs/site.css", "docs/iframe-worker.js")
_LINK = re.compile(r"\]\(([^)#\s]+)")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_ENTRY = re.compile(r'^ *\{ ".*" = "(.*\.md)" \},$')


def pages() -> list[str]:
    """Return the paths of the pages, in alphabetical order."""
    found = {path for pattern in _PAGES for path in ROOT.glob(pattern)}
    return sorted(str(path.relative_to(ROOT)) for path in found)


def listed() -> list[str]:
    """Return the paths of the pages that the navigation lists, in its order."""
    lines = CONFIG.read_text().splitlines()
    return [found[1] for line in lines if (found := _ENTRY.match(line))]


def linked(page: str) -> Iterator[str]:
    """Return the paths of the files of the repository that a page links to."""
    path = ROOT / page
    for target in _LINK.findall(_FENCE.sub("", path.read_text())):
        file = (path.parent / target).resolve()
        if "://" not in target and file.is_relative_to(ROOT) and file.is_file():
            yield str(file.relative_to(ROOT))


def copy(folder: Path) -> None:
    """Copy the pages, what they link to, and the configuration to a folder."""
    shutil.rmtree(folder / "pages", ignore_errors=True)
    found = pages()
    for name in {*found, *_LOOKS, *(file for page in found for file in linked(page))}:
        to = folder / "pages" / name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, to)
    (folder / CONFIG.name).write_text(_config())


def _config() -> str:
    """Return the configuration for a copy elsewhere, without the pages that are not there."""
    lines = CONFIG.read_text().splitlines()
    there = [
        line for line in lines if not (entry := _ENTRY.match(line)) or (ROOT / entry[1]).is_file()
    ]
    return "\n".join(there).replace('paths = ["."]', f'paths = ["{ROOT}"]')


def build(folder: Path) -> int:
    """Build the site in a folder and return the exit status: not 0 if a link is broken."""
    copy(folder)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run([*command, "-f", str(folder / CONFIG.name)]).returncode


if __name__ == "__main__":
    sys.exit(build(ROOT / "build"))
