"""The ablations of the Performer paper: the runs of each, and a table and a figure of them."""
