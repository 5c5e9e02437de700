"""The machine a run works on: devices, processes, memory, signals, versions."""
