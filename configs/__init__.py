"""Settings, one file a task: `PRESETS` maps a preset's name to a function that returns a config.

A config is an `ml_collections.ConfigDict` with the groups `data` (the task's options),
`model` (`lra_bench.settings.ModelSettings`) and `train` (`TrainSettings`). The attention is an
argument of the run: no config knows any. A task of another package keeps `PRESETS` in its own
module.
"""
