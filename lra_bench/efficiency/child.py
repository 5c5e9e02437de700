"""The process that measures one cell, or tells what machine this is; nothing else runs in it.

    python -m lra_bench.efficiency.child FILE < REQUEST

After each stage FILE gets a line with the result so far, so a process that is killed has told what
it knew. The request and each result are JSON objects.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lra_bench.efficiency.cells import HERE, Cell
from lra_bench.efficiency.measurement import Measurement, Memory
from lra_bench.errors import UsageError, is_out_of_memory, one_line
from lra_bench.runtime import gpu_share, memory
from lra_bench.runtime.source_files import place

_WARM_UPS, _PATIENCE_SECONDS = 3, 10.0


def main() -> None:
    """Do what standard input asks for."""
    memory.die_first()
    request, path = json.load(sys.stdin), Path(sys.argv[1])
    stages = None if request["cell"] is None else _Stages(Cell(**request["cell"]), path)
    try:
        if request["files"]:
            _load(request["files"])
        if stages is not None:
            stages.run(request["budget"])
        elif request["wanted"] is not None:
            append_result(path, describe_target(*request["wanted"]))
        else:
            append_result(path, describe())
    except (Exception, SystemExit) as error:
        known = {} if stages is None else stages.result.as_dict()
        append_result(path, {**known, **_failure(error)})


def _load(files: list[tuple[str, str, str]]) -> None:
    """Load files of the user, each given by its path, its text and its checksum."""
    from lra_bench.registry import ATTENTIONS, TASKS
    from lra_bench.runtime.source_files import SourceFile

    for path, text, sha256 in files:
        file = SourceFile(Path(path), text, sha256, path)
        ATTENTIONS.load(file)
        TASKS.load(file)


def append_result(path: Path, result: dict[str, Any]) -> None:
    """Write a result as one line of JSON."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result, allow_nan=False) + "\n")


def _failure(error: Exception | SystemExit) -> dict[str, Any]:
    """Return the parts of the result that tell what went wrong."""
    if isinstance(error, UsageError):
        return {"status": "usage", "error": str(error)}
    if is_out_of_memory(error):
        asked = memory.bytes_asked(str(error))
        return {"status": "out_of_memory", "error": one_line(error), "bytes_asked": asked}
    return {"status": "failed", "error": f"{place(error)}{one_line(error)}"}


def describe() -> dict[str, Any]:
    """Return the devices here, and how many bytes a device, or on CPUs the machine, has."""
    import jax

    from lra_bench.runtime.environment import environment

    devices = jax.local_devices()
    stats = devices[0].memory_stats() if devices[0].platform != "cpu" else None
    return {
        "devices": len(devices),
        "bytes": (stats or {}).get("bytes_limit") or memory.of_the_machine(),
        "environment": environment(devices, "float32").as_dict(),
    }


def describe_target(target: str, count: int) -> dict[str, Any]:
    """Return the name of a device that a first small program was compiled for.

    Raises:
        UsageError: the target has fewer devices.
    """
    import jax

    from lra_bench.efficiency import targets

    device, *_ = targets.devices(target, count)
    place = jax.sharding.SingleDeviceSharding(device)
    number = jax.ShapeDtypeStruct((8,), "float32", sharding=place)
    jax.jit(lambda x: x + 1).trace(number).lower().compile()
    return {"status": "ok", "device": device.device_kind}


class _Stages:
    """The stages of a measurement: compile, apply the memory limit, run once, time."""

    def __init__(self, cell: Cell, path: Path) -> None:
        self.cell, self.path = cell, path
        self.result = Measurement(cell, machine="", status="crashed")

    def run(self, budget: float | None) -> None:
        """Go through all stages; without a budget, nothing is timed."""
        if self.cell.target == HERE and self.cell.memory_limit:
            gpu_share.limit(self.cell.memory_limit)
        from lra_bench.runtime.compile_cache import mended

        with mended():
            planned = self._compile()
            if self.cell.target == HERE:
                self._execute(planned, budget)
                self._note(status="ok")
            else:
                self._compare(planned.predicted_bytes or 0)

    def _note(self, **parts: Any) -> None:
        """Add parts to the result and write it."""
        result = replace(self.result, **parts)
        append_result(self.path, result.as_dict())
        self.result = result

    def _compare(self, predicted: int) -> None:
        """Decide from the predicted bytes whether a program that is not run would fit."""
        limit = self.cell.memory_limit
        if limit is None or predicted <= limit:
            self._note(status="ok")
        else:
            error = f"would take {predicted:,} bytes of {limit:,}"
            self._note(status="out_of_memory", error=error, bytes_asked=predicted)

    def _compile(self) -> Memory:
        """Compile the program; return the memory that the compiler plans."""
        import jax

        from lra_bench.efficiency import cycles, programs, targets
        from lra_bench.registry import ATTENTIONS
        from lra_bench.runtime import numerics
        from lra_bench.runtime.environment import environment
        from lra_bench.runtime.flops import flops_of

        ATTENTIONS.get(self.cell.attention)
        numerics.pin()  # a plug-in may have changed what results depend on
        # Otherwise a call could return before its work is done.
        jax.config.update("jax_cpu_enable_async_dispatch", False)
        cell, self.program = self.cell, programs.build(self.cell)
        self.devices = targets.devices(cell.target, cell.devices)
        where = environment(self.devices, cell.dtype)
        self._note(environment=where, parameters=self.program.count_parameters())
        self.layout = programs.Layout(self.devices)
        started = time.perf_counter()
        traced = self.layout.trace(self.program)
        self._note(flops=flops_of(traced.jaxpr))
        self.compiled = traced.lower().compile()
        seconds, planned = time.perf_counter() - started, _plan(self.compiled)
        kernels = _kernels(self.compiled) if self.devices[0].platform == "gpu" else None
        costs = _costs(self.compiled)
        self._note(compile_seconds=seconds, memory=planned, kernels=kernels, **costs)
        if clock := cycles.CLOCKS.get(cell.target):
            self._note(estimate=cycles.estimate(self.compiled.as_text(), clock))
        return planned

    def _execute(self, planned: Memory, budget: float | None) -> None:
        """Run the program within the memory limit, measure its memory, then its time."""
        from lra_bench.efficiency import timing

        on_cpu = self.devices[0].platform == "cpu"
        call = self._prepare(on_cpu=on_cpu)
        seconds, grown = _warm_up(call, self.devices[0])
        peak = None if grown is None else grown + (planned.argument_bytes or 0)
        method = "rss" if on_cpu else "allocator"
        self._note(memory=replace(planned, measured_bytes=peak, method=method))
        if budget is None:
            return
        memory.cap(None)  # it fits; from here on the process runs without a limit
        memory.give_back_at_once(yes=False)
        if seconds < budget:
            call()
        clock = "cpu" if on_cpu else "wall"
        self._note(timing=timing.measure(call, seconds, budget, clock))

    def _prepare(self, *, on_cpu: bool) -> Callable[[], None]:
        """Apply the memory limit, make the arrays, and return a call that waits for its result."""
        import jax

        init, limit = self.layout.compile_init(self.program), self.cell.memory_limit
        memory.give_back_at_once(yes=True)
        if on_cpu and limit:
            memory.cap(limit + memory.scratch(limit))
        state, inputs = self.layout.arrays(self.program, init)

        def call() -> None:
            nonlocal state
            out = jax.block_until_ready(self.compiled(state, *inputs))
            if self.program.updates:
                state = out[0]

        return call


def _warm_up(call: Callable[[], None], device: Any) -> tuple[float, int | None]:
    """Return the seconds of a call, and by how many bytes memory grew at most during it.

    The first call touches code and scratch memory that later calls find in place, so the last
    call counts. There are up to three, fewer if a call takes longer than 10 s. On GPUs the peak of
    the memory is that of the process, so a call counts that raises it, and none if none does. None
    stands for unknown.
    """
    on_cpu = device.platform == "cpu"
    seconds, grown = 0.0, None
    for _ in range(_WARM_UPS):
        before, highest = (memory.resident(), 0) if on_cpu else _in_use(device)
        started = time.perf_counter()
        call()
        seconds = time.perf_counter() - started
        peak = memory.peak() if on_cpu else _in_use(device)[1]
        if before is not None and peak > highest:
            grown = max(peak - before, 0)
        if seconds > _PATIENCE_SECONDS:
            break
    return seconds, grown


def _in_use(device: Any) -> tuple[int, int]:
    """Return the bytes in use now, and at most since the process began."""
    stats = device.memory_stats() or {}
    return stats.get("bytes_in_use", 0), stats.get("peak_bytes_in_use", 0)


def _plan(compiled: Any) -> Memory:
    """Return the bytes of a device that the compiler plans to hold."""
    analysis = compiled.memory_analysis()
    argument, output, temp, alias = (
        int(getattr(analysis, f"{name}_size_in_bytes"))
        for name in ("argument", "output", "temp", "alias")
    )
    return Memory(argument + output + temp - alias, argument, output, temp, alias)


def _kernels(compiled: Any) -> int | None:
    """Return the kernels that a call launches; None if the program does not say."""
    from lra_bench.efficiency.kernels import count_kernels

    return count_kernels(compiled.as_text())


def _costs(compiled: Any) -> dict[str, float | None]:
    """Return XLA's own counts of a device's operations and bytes; it counts a loop's body once."""
    analysis = compiled.cost_analysis() or {}
    analysis = analysis[0] if isinstance(analysis, list) else analysis
    return {"xla_flops": analysis.get("flops"), "xla_bytes": analysis.get("bytes accessed")}


if __name__ == "__main__":
    main()
