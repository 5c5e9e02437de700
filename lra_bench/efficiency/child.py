"""The process that measures one cell, or tells what machine this is; nothing else runs in it.

    python -m lra_bench.efficiency.child FILE < REQUEST

The result so far is in FILE after each stage, so that a process that is killed has told what it
knew. The request and the result are JSON objects.
"""

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lra_bench.efficiency.cells import HERE, Cell
from lra_bench.runtime import memory

Result = dict[str, Any]

_WARM_UPS, _PATIENCE = 3, 10.0


def main() -> None:
    """Do what standard input asks for."""
    memory.die_first()
    request, path = json.load(sys.stdin), Path(sys.argv[1])
    try:
        if request["cell"] is None:
            _keep(path, describe())
        else:
            _Measurement(Cell(**request["cell"]), path).run(request["budget"])
    except Exception as error:
        _keep(path, {**_read(path), **_failure(error)})


def _failure(error: Exception) -> Result:
    from lra_bench.errors import UsageError, is_out_of_memory, one_line

    if isinstance(error, UsageError):
        return {"status": "usage", "error": str(error)}
    if is_out_of_memory(error):
        asked = memory.bytes_asked(str(error))
        return {"status": "out_of_memory", "error": one_line(error), "bytes_asked": asked}
    return {"status": "failed", "error": one_line(error)}


def _keep(path: Path, result: Result) -> None:
    from lra_bench.files import write_json

    write_json(path, result)


def _read(path: Path) -> Result:
    return json.loads(path.read_text()) if path.exists() else {}


def describe() -> Result:
    """The devices here, and how many bytes a device, or the machine, has."""
    import jax

    from lra_bench.runtime.environment import environment

    devices = jax.local_devices()
    stats = devices[0].memory_stats() if devices[0].platform != "cpu" else None
    return {
        "devices": len(devices),
        "bytes": (stats or {}).get("bytes_limit") or memory.of_the_machine(),
        "environment": environment(devices, "float32").as_dict(),
    }


class _Measurement:
    """The stages of a measurement: compile, hold the memory limit, run once, time."""

    def __init__(self, cell: Cell, path: Path) -> None:
        self.cell, self.path = cell, path
        self.result: Result = {"status": "crashed"}

    def run(self, budget: float | None) -> None:
        """Go through all; without a budget, nothing is timed."""
        if self.cell.target == HERE and self.cell.memory_limit:
            memory.limit_allocator(self.cell.memory_limit)
        self._compile()
        if self.cell.target == HERE:
            self._execute(budget)
        elif _is_over(self.result["memory"]["predicted_bytes"], self.cell.memory_limit):
            asked = self.result["memory"]["predicted_bytes"]
            error = f"would take {asked:,} bytes of {self.cell.memory_limit:,}"
            self._note(status="out_of_memory", error=error, bytes_asked=asked)
            return
        self._note(status="ok")

    def _note(self, **found: Any) -> None:
        self.result.update(found)
        _keep(self.path, self.result)

    def _compile(self) -> None:
        import jax

        from lra_bench.efficiency import programs, targets
        from lra_bench.runtime.environment import environment
        from lra_bench.runtime.flops import count_flops

        # Else a call could return before it's done.
        jax.config.update("jax_cpu_enable_async_dispatch", False)
        cell, self.program = self.cell, programs.build(self.cell)
        self.devices = targets.devices(cell.target, cell.devices)
        place = environment(self.devices, cell.dtype)
        place = dataclasses.replace(place, xla_flags=os.environ.get("XLA_FLAGS", ""))
        self._note(environment=place.as_dict(), parameters=self.program.count_parameters())
        self.layout = programs.Layout(self.devices)
        specs = self.layout.specs(self.program)
        self._note(flops=count_flops(self.program.function, *specs))
        started = time.perf_counter()
        self.compiled = self.layout.compile(self.program, specs)
        seconds = time.perf_counter() - started
        self._note(compile_seconds=seconds, memory=_plan(self.compiled), **_costs(self.compiled))

    def _execute(self, budget: float | None) -> None:
        import jax

        from lra_bench.efficiency import timing

        on_cpu = self.devices[0].platform == "cpu"
        init = self.layout.compile_init(self.program)
        memory.give_back_at_once(yes=True)
        if on_cpu and self.cell.memory_limit:
            limit = self.cell.memory_limit
            memory.cap(limit + memory.scratch(limit))
        state, inputs = self.layout.arrays(self.program, init)

        def call() -> None:
            nonlocal state
            out = jax.block_until_ready(self.compiled(state, *inputs))
            if self.program.updates:
                state = out[0]

        seconds, grown = _warm_up(call, self.devices[0])
        measured = None if grown is None else grown + self.result["memory"]["argument_bytes"]
        method = "rss" if on_cpu else "allocator"
        self.result["memory"].update(measured_bytes=measured, method=method)
        if budget is None:
            return
        memory.cap(None)  # it fits; timing is done as any process would run
        memory.give_back_at_once(yes=False)
        if seconds < budget:
            call()
        clock = "cpu" if on_cpu else "wall"
        self._note(timing=timing.measure(call, seconds, budget, clock))


def _warm_up(call: Callable[[], None], device: Any) -> tuple[float, int | None]:
    """Seconds of a call, and by how many bytes memory grew at most in it.

    The first touches code and scratch memory that later ones find in place: so it is the last
    that counts, of as many as there is patience for.
    """
    on_cpu = device.platform == "cpu"
    seconds, grown = 0.0, None
    for _ in range(_WARM_UPS):
        before = memory.resident() if on_cpu else _in_use(device, "bytes_in_use")
        started = time.perf_counter()
        call()
        seconds = time.perf_counter() - started
        peak = memory.peak() if on_cpu else _in_use(device, "peak_bytes_in_use")
        grown = max(peak - before, 0) if peak else None
        if seconds > _PATIENCE:
            break
    return seconds, grown


def _is_over(predicted: int, limit: int | None) -> bool:
    return limit is not None and predicted > limit


def _in_use(device: Any, key: str) -> int:
    return (device.memory_stats() or {}).get(key, 0)


def _plan(compiled: Any) -> Result:
    """What the compiler plans to hold, in bytes a device."""
    found = compiled.memory_analysis()
    parts = {
        f"{name}_bytes": int(getattr(found, f"{name}_size_in_bytes"))
        for name in ("argument", "output", "temp", "alias")
    }
    total = sum(parts.values()) - 2 * parts["alias_bytes"]
    return {"predicted_bytes": total, **parts, "measured_bytes": None, "method": None}


def _costs(compiled: Any) -> Result:
    """XLA's own counts of a device's operations and bytes; it counts a loop's body once."""
    found = compiled.cost_analysis() or {}
    found = found[0] if isinstance(found, list) else found
    return {"xla_flops": found.get("flops"), "xla_bytes": found.get("bytes accessed")}


if __name__ == "__main__":
    main()
