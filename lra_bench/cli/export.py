"""The command `lra-bench export` writes records as one flat table, for data hubs."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lra_bench.cli.chosen import only_efficiency
from lra_bench.cli.common import add_strict, one_of, strictly
from lra_bench.cli.paths import output_file, records_path
from lra_bench.display.busy import busy, say
from lra_bench.display.escape import terminal
from lra_bench.files.atomic import write_atomically

if TYPE_CHECKING:
    import pandas as pd

NAME = "export"
HELP = "write records as one flat table, or their JSON Schema"
DESCRIPTION = """\
Write the records below each DIR as one table with a row for each, for data hubs and notebooks.
Names of columns are those of the records, with dots: test.accuracy, config.train.num_steps. Options
of tasks and attentions, which differ, are JSON. Answers on single examples are left out.

--schema prints the JSON Schema of record.json, or of a line of efficiency.jsonl.
"""
_FORMATS = ("parquet", "csv")
_KINDS = ("runs", "efficiency")
# What differs between tasks and attentions, and so is one column of JSON.
_AS_JSON = (
    "config.data",
    "config.attention_options",
    "cell.config",
    "timing.samples",
    "data.sizes",
)
_LEFT_OUT = ("correct", "counts")
_TOO_LARGE = "too large"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add = parser.add_argument
    add("dirs", nargs="*", type=records_path, metavar="DIR", help="searched for records")
    style = f"{', '.join(_FORMATS)}; default: by the end of FILE"
    add("--format", type=one_of("format", _FORMATS), metavar="NAME", help=style)
    kinds = f"{' or '.join(_KINDS)}; default: runs if there are any"
    add("--kind", type=one_of("kind", _KINDS, run="runs"), metavar="KIND", help=kinds)
    add("--out", type=output_file, metavar="FILE", help="default: records.FORMAT")
    schemas = ("record", "efficiency")
    schema = f"print the JSON Schema of {' or '.join(schemas)}, and read no records"
    add("--schema", type=one_of("schema", schemas), metavar="NAME", help=schema)
    add_strict(parser)


def main(args: argparse.Namespace, argv: list[str]) -> int:
    """Write the table, or print a schema."""
    del argv
    from lra_bench.errors import UsageError

    if args.schema is not None:
        return _write_schema(args)
    if not args.dirs:
        raise UsageError("name a folder of records, or --schema record")
    return strictly(args.strict, lambda: _write(args))


def _write_schema(args: argparse.Namespace) -> int:
    """Print a schema, or write it to --out.

    Raises:
        UsageError: other arguments are given, which are of records.
    """
    from lra_bench.cli.json_schema import schema
    from lra_bench.errors import UsageError

    if args.dirs or args.format or args.kind:
        raise UsageError("--schema reads no records: leave out DIR, --format and --kind")
    text = json.dumps(schema(args.schema), indent=2)
    if args.out is None:
        say(text)
    else:
        write_atomically(args.out, f"{text}\n")
        say(terminal(args.out))
    return 0


def _write(args: argparse.Namespace) -> int:
    style = args.format or _by_suffix(args.out)
    out = args.out or Path(f"records.{style}")
    _require(style)
    with busy("reading records"):
        table = _table(args)
    with busy(f"writing {out}"):
        write_atomically(out, _content(table, style))
    say(terminal(f"{len(table):,} rows of {len(table.columns)} columns in {out}"))
    return 0


def _content(table: "pd.DataFrame", style: str) -> str | bytes:
    if style == "parquet":
        return table.to_parquet(None, engine="pyarrow", index=False)
    from lra_bench.display.tables import for_programs

    return for_programs(table, "csv")


def _by_suffix(out: Path | None) -> str:
    """Return the format that the end of a file's name stands for.

    Raises:
        UsageError: it stands for none.
    """
    from lra_bench.errors import UsageError

    style = "" if out is None else out.suffix.lower().removeprefix(".")
    if style not in _FORMATS:
        given = "name" if out is None else f"--out {out}: must end in .parquet or .csv; or name"
        raise UsageError(f"{given} --format {' or '.join(_FORMATS)}")
    return style


def _require(style: str) -> None:
    """Raise UsageError if what a format needs is not installed."""
    from importlib.util import find_spec

    from lra_bench.errors import UsageError

    if style == "parquet" and find_spec("pyarrow") is None:
        raise UsageError(
            "--format parquet needs pyarrow: pip install 'lra-bench[parquet]'; or --format csv"
        )


def _table(args: argparse.Namespace) -> "pd.DataFrame":
    import pandas as pd

    from lra_bench.efficiency import records
    from lra_bench.records.find import collect

    kind = args.kind or ("efficiency" if only_efficiency(args.dirs) else "runs")
    found = collect(args.dirs) if kind == "runs" else records.collect(args.dirs)
    table = pd.DataFrame([_flat(each.as_dict()) for each in found])
    kinds = {name: set(map(_kind, table[name].dropna())) for name in table.columns}
    mixed = [name for name, found in kinds.items() if len(found) > 1 or _TOO_LARGE in found]
    numbers = [name for name in mixed if kinds[name] <= {int, float}]
    texts = {name: table[name].map(_json) for name in mixed if name not in numbers}
    return table.assign(**{name: table[name].astype(float) for name in numbers}, **texts)


def _kind(value: Any) -> type | str:
    """Return the type of a value; whole numbers that no column of numbers holds are told apart."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return _TOO_LARGE if is_whole and not -(2**63) <= value < 2**63 else type(value)


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def _flat(values: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """Return nested values as one dictionary, with dots between the names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{at}.{key}" if at else key
        if key in _LEFT_OUT:
            continue
        if name in _AS_JSON or isinstance(value, list):
            flat[name] = _json(value)
        elif isinstance(value, Mapping):
            flat |= _flat(value, name)
        else:
            flat[name] = value
    return flat
