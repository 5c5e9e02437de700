"""Presets, one file per task: `PRESETS` maps each preset's name to a function that makes a config.

A config is an `ml_collections.ConfigDict` with the groups `data` (the task's options),
`model` (`lra_bench.settings.ModelSettings`) and `train` (`TrainSettings`). No config names an
attention, which is an argument of the run. `base` has the settings that presets share. A task of
another package keeps `PRESETS` in its own module.
"""
