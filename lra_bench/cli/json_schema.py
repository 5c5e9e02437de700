"""The JSON Schemas of record.json and of a line of efficiency.jsonl.

They say what the readers of this package accept: what these require is required, and other parts
have the types that this version writes. The meanings are those of the docstrings.
"""

from dataclasses import fields
from typing import Any, get_args

from lra_bench.data.store import Provenance
from lra_bench.efficiency import measurement
from lra_bench.efficiency.cells import Cell
from lra_bench.efficiency.measurement import EstimatedTime, Measurement, Memory, Timing
from lra_bench.efficiency.measurement import Spread as SpreadOfTime
from lra_bench.records import record
from lra_bench.records.record import Record, Score, Start
from lra_bench.report.docstring import meanings
from lra_bench.runtime.environment import Environment

Schema = dict[str, Any]
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_LARGEST = 1e100
NAMES = ("record", "efficiency")

_NUMBER: Schema = {"type": "number", "minimum": -_LARGEST, "maximum": _LARGEST}
_POSITIVE: Schema = {"type": "number", "minimum": 1 / _LARGEST, "maximum": _LARGEST}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_WHOLE: Schema = {"type": "integer", "minimum": 0, "exclusiveMaximum": 2**63}
_COUNT: Schema = {**_WHOLE, "minimum": 1}
_TEXT: Schema = {"type": "string"}
_GROUP: Schema = {"type": "object"}


def schema(name: str) -> Schema:
    """Return the schema of "record", which is record.json, or of "efficiency", a line."""
    return _record() if name == "record" else _efficiency()


def _or_null(kind: Schema) -> Schema:
    """Return the schema of a value that may be null."""
    if "anyOf" in kind or not isinstance(kind.get("type"), str):
        return {"anyOf": [kind, {"type": "null"}]}
    return {**kind, "type": [kind["type"], "null"]}


def _object(kind: type, parts: dict[str, Schema], required: tuple[str, ...] = ()) -> Schema:
    """Return the schema of an object, with the meanings from the docstring of a dataclass."""
    meant = meanings(kind)
    described = {
        name: {**part, "description": meant[name]} if name in meant else part
        for name, part in parts.items()
    }
    return {"type": "object", "properties": described, "required": list(required)}


def _environment() -> Schema:
    counts = ("device_count", "processes", "host_cpu_count", "usable_cores")
    parts = {x.name: _or_null(_COUNT if x.name in counts else _TEXT) for x in fields(Environment)}
    parts["versions"] = {"type": "object", "additionalProperties": _TEXT}
    return _object(Environment, {**parts})


def _score() -> Schema:
    packed = {"correct": _TEXT, "counts": _TEXT}
    parts = {"accuracy": _SHARE, "loss": _or_null(_NUMBER), "examples": _COUNT, **packed}
    return _object(Score, parts, ("accuracy", "examples"))


def _config() -> Schema:
    numbers: Schema = {"if": {"type": "number"}, "then": _NUMBER}
    group: Schema = {"type": "object", "additionalProperties": numbers}
    groups = ("data", "model", "train", "attention_options")
    file = {
        "type": "object",
        "properties": {"path": _TEXT, "sha256": _TEXT},
        "description": "the file of --config that some of the settings came from",
    }
    return {
        "type": "object",
        "properties": {**dict.fromkeys(groups, group), "config_file": file},
        "additionalProperties": numbers,
        "required": list(groups),
    }


def _record() -> Schema:
    start = {"path": _TEXT, "sha256": _TEXT, "step": _WHOLE, "test_accuracy": _SHARE}
    start = {name: _or_null(part) for name, part in start.items()}
    scores = dict.fromkeys(("validation", "test"), _or_null(_score()))
    origin = _object(
        Start, {"task": _TEXT, "attention": _TEXT, **start, **scores}, ("task", "attention")
    )
    data = _object(
        Provenance,
        {
            "source": _or_null(_TEXT),
            "sha256": _or_null(_TEXT),
            "sizes": {"type": "object", "additionalProperties": _WHOLE},
            "official": {"type": "boolean"},
        },
    )
    whole = {"type": "integer", "exclusiveMinimum": -(2**63), "exclusiveMaximum": 2**63}
    positive = ("parameters", "parameters_vs_softmax", "chance_loss", "uniform_loss",
                "steps_per_second", "tokens_per_second", "flops_per_step", "peak_memory_bytes",
                "compile_seconds")  # fmt: skip
    parts: dict[str, Schema] = {
        "schema": {"const": record.SCHEMA, "type": "integer"},
        "status": {"enum": list(record.STATUSES)},
        "error": _or_null(_TEXT),
        **dict.fromkeys(("task", "attention", "preset", "guess"), _TEXT),
        "seed": whole,
        "config": _config(),
        "init_from": _or_null(origin),
        **dict.fromkeys(positive, _or_null(_POSITIVE)),
        "chance": _SHARE,
        "best_step": _or_null(_WHOLE),
        "steps": _WHOLE,
        **dict.fromkeys(("validation", "test", "held_out"), _or_null(_score())),
        "data": _or_null(data),
        "environment": _or_null(_environment()),
        "checksum": {**_TEXT, "description": "SHA-256 of the other keys"},
    }
    required = [name for name in record.REQUIRED if name not in record.LACKING]
    ended_well = {"properties": {"status": {"const": "ok"}}}
    there = {name: {"not": {"type": "null"}} for name in ("test", "validation", "best_step")}
    return {
        "$schema": _DRAFT,
        "title": "record.json: the record of one run of lra-bench",
        **_object(Record, parts, ("schema", *required)),
        "if": ended_well,
        "then": {"properties": there},
    }


def _cell() -> Schema:
    texts = ("attention", "scope", "size", "direction", "dtype", "target")
    parts = {
        **dict.fromkeys(texts, _TEXT),
        "preset": _or_null(_TEXT),
        **dict.fromkeys(("length", "batch", "devices"), _COUNT),
        **dict.fromkeys(("layers", "memory_limit"), _or_null(_COUNT)),
        "config": _GROUP,
    }
    names = tuple(field.name for field in fields(Cell))
    return {**_object(Cell, parts, names), "additionalProperties": False}


def _timing() -> Schema:
    quartiles = ("median", "q1", "q3")
    spread = _object(SpreadOfTime, dict.fromkeys(quartiles, _NUMBER), quartiles)
    kept = {"type": "array", "items": _NUMBER, "minItems": 1}
    clocks = get_args(measurement.Clock)
    samples = {"type": "object", "properties": dict.fromkeys(clocks, kept), "required": [*clocks]}
    parts = {
        "repeats": _or_null(_WHOLE),
        "calls_per_repeat": _or_null(_WHOLE),
        **dict.fromkeys(clocks, spread),
        "samples": _or_null(samples),
    }
    return _object(Timing, parts, clocks)


def _efficiency() -> Schema:
    memory = {x.name: _or_null(_NUMBER) for x in fields(Memory) if x.name != "method"}
    numbers = ("compile_seconds", "flops", "xla_flops", "xla_bytes")
    wholes = ("bytes_asked", "parameters", "kernels")
    estimate = {"seconds": _POSITIVE, "cycles": _WHOLE, "without": _WHOLE, "hertz": _POSITIVE}
    estimate = {name: _or_null(part) for name, part in estimate.items()}
    parts: dict[str, Schema] = {
        "schema": {"const": measurement.SCHEMA},
        "cell": _cell(),
        "machine": _TEXT,
        "round": _or_null(_COUNT),
        "status": {"enum": list(measurement.STATUSES)},
        "error": _or_null(_TEXT),
        "inferred_from": _or_null(_COUNT),
        "time_limit": _or_null(_POSITIVE),
        "timing": _or_null(_timing()),
        **dict.fromkeys(numbers, _or_null(_NUMBER)),
        **dict.fromkeys(wholes, _or_null(_WHOLE)),
        "memory": _or_null(_object(Memory, {**memory, "method": _or_null(_TEXT)})),
        "estimate": _or_null(_object(EstimatedTime, estimate)),
        "environment": _or_null(_environment()),
        "finished": _or_null(_TEXT),
        "crc32": {**_TEXT, "description": "CRC-32 of the rest of the line"},
    }
    required = ("schema", "cell", "machine", "status", "inferred_from", "timing", "memory")
    return {
        "$schema": _DRAFT,
        "title": "efficiency.jsonl: a line is one visit to a cell",
        **_object(Measurement, parts, required),
    }
