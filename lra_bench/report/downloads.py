"""The section with what a reader may take along: the results as CSV, and BibTeX."""

import inspect
import re
from collections.abc import Iterable

from lra_bench import __version__
from lra_bench.display.tables import for_programs
from lra_bench.leaderboard.comparable import by_setting
from lra_bench.leaderboard.tables import long
from lra_bench.registry import ATTENTIONS
from lra_bench.report.docstring import parse
from lra_bench.report.inputs import Inputs
from lra_bench.report.markup import Html, folded, joined, tag
from lra_bench.scaling import rows

# Such as: Ma et al. 2021, "Luna: Linear Unified Nested Attention", arXiv:2106.01540; also untitled.
_PAPER = re.compile(
    r"(?P<authors>[A-Z][\w'-]*(?:(?:,? and |, | )[A-Z][\w'-]*)*(?: et al\.)?) (?P<year>\d{4}), "
    r'(?:"(?P<title>[^"]+)", )?arXiv:(?P<number>\d{4}\.\d{4,5})'
)
_SOFTWARE = """\
@software{{lra_bench,
  title   = {{{{lra-bench}}: efficient attention on the {{Long Range Arena}}, in {{JAX}}}},
  author  = {{{{The lra-bench authors}}}},
  version = {{{version}}},
}}"""
_PAPERS = """\
@inproceedings{choromanski2021rethinking,
  title     = {Rethinking Attention with Performers},
  author    = {Krzysztof Choromanski and others},
  booktitle = {International Conference on Learning Representations},
  year      = {2021},
  url       = {https://arxiv.org/abs/2009.14794},
}

@inproceedings{tay2021long,
  title     = {Long Range Arena: A Benchmark for Efficient Transformers},
  author    = {Yi Tay and others},
  booktitle = {International Conference on Learning Representations},
  year      = {2021},
  url       = {https://arxiv.org/abs/2011.04006},
}"""
# Columns of speed and memory; `lra-bench table --format csv` has all.
_SPEED = (
    "machine", "target", "scope", "size", "preset", "direction", "batch", "dtype", "layers",
    "devices", "memory_limit", "label", "length", "status", "wall_seconds", "cpu_seconds",
    "measured_bytes", "predicted_bytes", "estimated_seconds", "flops",
)  # fmt: skip
_CITED = frozenset({"2009.14794", "2011.04006"})


def section(inputs: Inputs, attentions: Iterable[str]) -> Html:
    """Return the files as text, which the script offers for download."""
    parts = [_file("bibtex", "lra-bench.bib", "BibTeX", bibtex(attentions))]
    if inputs.lines:
        table = rows.frame(rows.from_lines(inputs.lines))
        shown = _csv(table[[*_SPEED]])
        parts.insert(0, _file("csv-speed", "efficiency.csv", "Speed and memory, CSV", shown))
    if inputs.runs:
        table = long(by_setting(inputs.runs), with_published=False)
        parts.insert(0, _file("csv", "accuracy.csv", "Accuracy, CSV", _csv(table)))
    return joined(parts, "\n")


def _csv(table: object) -> str:
    return for_programs(table, "csv")  # type: ignore[arg-type]


def _file(name: str, file: str, title: str, text: str) -> Html:
    """Return a file under its title; the script adds a button that saves it."""
    body = tag("pre", tag("code", text), id=name, data_file=file, tabindex=0)
    return folded(title, body, class_="file")


def bibtex(attentions: Iterable[str]) -> str:
    """Return the entries of this software, of its two papers, and of the mechanisms."""
    entries: dict[str, str] = {}
    for name in sorted(set(attentions)):
        for number, paper in enumerate(_papers(name)):
            key = name if number == 0 else f"{name}-{number + 1}"
            if paper["number"] not in _CITED:
                entries.setdefault(paper["number"], _misc(key, paper))
    return "\n\n".join([_SOFTWARE.format(version=__version__), _PAPERS, *entries.values()]) + "\n"


def _papers(attention: str) -> list[re.Match[str]]:
    """Return the papers on arXiv that the docstring of a mechanism names."""
    entry = ATTENTIONS.find(attention)
    if entry is None:
        return []
    references = parse(inspect.getdoc(entry.target) or "").references
    return [*_PAPER.finditer(" ".join(references.split()))]


def _misc(key: str, paper: re.Match[str]) -> str:
    names = paper["authors"].replace(" et al.", " and others").replace(", ", " and ")
    fields = {
        "author": names,
        "title": f"{{{paper['title']}}}" if paper["title"] else "",
        "year": paper["year"],
        "eprint": paper["number"],
        "archivePrefix": "arXiv",
        "url": f"https://arxiv.org/abs/{paper['number']}",
    }
    lines = [f"  {name} = {{{_escaped(value)}}}," for name, value in fields.items() if value]
    return "\n".join([f"@misc{{{key},", *lines, "}"])


def _escaped(text: str) -> str:
    """Return a field with the signs escaped that mean something to LaTeX."""
    return re.sub(r"[#&%_]", r"\\\g<0>", re.sub(r"\^(\w)", r"$^\1$", text))
