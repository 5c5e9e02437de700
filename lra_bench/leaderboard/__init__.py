"""The leaderboard: tables of accuracy, made from the records of runs."""
