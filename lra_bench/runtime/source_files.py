"""Load a Python file of the user that registers an attention or a task.

A user names it as `path/to/file.py`, or as `path/to/file.py:name` if it registers several. The file
is a module of its own: it belongs to no package, and its folder is not searched for imports, so
that its checksum stands for all of its code.
"""

import hashlib
import sys
import traceback
import types
from dataclasses import dataclass, field
from pathlib import Path

from lra_bench.display.escape import terminal
from lra_bench.errors import UsageError
from lra_bench.files.paths import expanded, reason
from lra_bench.runtime.plugins import Broken, guarded

SUFFIX = ".py"
# The start of the names of modules that are made from files; the checksum follows.
PREFIX = "lra_bench_file_"
_MOST_BYTES = 2**20


@dataclass(frozen=True)
class SourceFile:
    """A file as it was when it was read.

    Attributes:
        path: absolute.
        text: its contents.
        sha256: checksum of its contents.
        given: its path as the user wrote it, for messages.
    """

    path: Path
    text: str
    sha256: str
    given: str = field(compare=False)

    @property
    def module(self) -> str:
        """Return the name of the module that is made of it."""
        return f"{PREFIX}{self.sha256[:16]}"


def is_reference(text: str) -> bool:
    """Return whether a text names a file, not a registered name, which has no dot."""
    return any(part.endswith(SUFFIX) for part in (text, text.rpartition(":")[0]))


def split(text: str) -> tuple[str, str | None]:
    """Return the path and the name in it; None for the only one that the file registers."""
    if text.endswith(SUFFIX):
        return text, None
    path, _, name = text.rpartition(":")
    return path, name


def read(text: str) -> SourceFile:
    """Return the file at a path; "~" is the home folder.

    Raises:
        UsageError: it cannot be read as Python code; the message says why.
    """
    path = expanded(text).absolute()
    try:
        if path.is_dir():
            raise UsageError(f"{terminal(text)}: a folder, not a file")
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{terminal(text)}: {_why(error)}") from None
    if len(data) > _MOST_BYTES:
        raise UsageError(f"{terminal(text)}: larger than 1 MiB, so it is no file of one mechanism")
    try:
        code = data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UsageError(f"{terminal(text)}, line {line}: not UTF-8 text") from None
    return SourceFile(path, code, hashlib.sha256(data).hexdigest(), text)


def _why(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file; lra-bench new attention NAME or new task NAME writes one"
    return reason(error)


def place(error: BaseException) -> str:
    """Return where in a file of the user an error arose, as "my.py, line 3: "; else ""."""
    lines = [
        f"{Path(frame.f_code.co_filename).name}, line {line}: "
        for frame, line in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).startswith(PREFIX)
    ]
    return terminal(lines[-1]) if lines else ""


def execute(file: SourceFile) -> None:
    """Run the code of a file as a module.

    Raises:
        Broken: it cannot be used; the message names file and line.
    """
    module = types.ModuleType(file.module)
    module.__file__ = str(file.path)
    sys.modules[file.module] = module  # dataclasses look their module up there
    try:
        guarded(lambda: exec(_compiled(file), vars(module)), file.module)
    except Broken:
        sys.modules.pop(file.module, None)
        raise


def _compiled(file: SourceFile) -> types.CodeType:
    return compile(file.text, str(file.path), "exec", dont_inherit=True)
