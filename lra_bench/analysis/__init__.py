"""Studies of the mechanisms: results of the Performer paper, measured on this code.

Each module is one study. `Setup` holds its parameters. `run(setup, out, display)` measures, writes
CSV files and figures into `out`, shows a table, and returns whether theory holds.
"""
