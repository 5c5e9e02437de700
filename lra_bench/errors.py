"""The two ways in which a command can end badly, each told in one line."""


class UsageError(Exception):
    """The call was wrong: exit status 2. The message names the valid choices."""


class RunError(Exception):
    """The call was right but a run or a check failed: exit status 1."""
