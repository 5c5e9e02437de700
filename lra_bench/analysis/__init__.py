"""Studies of the mechanisms themselves: results of the Performer paper, measured on our code.

Each module is one study: `Setup` says what is measured, `run(setup, out, display)` measures,
writes CSV files and figures into `out`, shows a table, and tells whether theory holds.
"""
