"""Files of JSON lines that are appended to."""

import json
import os
from pathlib import Path
from typing import Any


def append_line(path: Path, value: Any) -> None:
    """Append a line and see it on disk; what a kill cut off before it stays a line of its own."""
    text = json.dumps(value, allow_nan=False) + "\n"
    with path.open("a+b") as file:
        if file.tell() and not _ends_whole(file):
            text = "\n" + text
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def _ends_whole(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def read_lines(path: Path) -> tuple[list[Any], int]:
    """The values of a file's lines, none if it isn't there, and how many lines are broken."""
    values, broken = [], 0
    for text in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            values.append(json.loads(text))
        except ValueError:
            broken += bool(text.strip())
    return values, broken
