"""Runs `lra-bench`, and kills it at some operation on a file, as kill -9 does.

    python killed.py WORD NUMBER DELAY [lra-bench's arguments]

Operations are those that Python tells its auditors of: opening a file to write, making, renaming
and removing files and folders. The process dies DELAY seconds after the operation that is the
NUMBERth whose line of text has WORD in it begins; at 0, before it does anything. If WORD begins
with "half ", it dies at the NUMBERth write to a file that has the rest in its path, which gets
half of the text only.
"""

import io
import os
import signal
import sys
import threading
from pathlib import Path

from lra_bench.cli import main


def described(event, args):
    """Such as "os.rename /tmp/run/.record.json.7.tmp /tmp/run/record.json"; None for others."""
    if event == "open":
        path, mode, flags = args
        writes = mode is not None and any(letter in mode for letter in "wax+")
        if writes or (mode is None and flags & (os.O_WRONLY | os.O_RDWR)):
            return f"open {path}"
    elif event in ("os.remove", "os.rmdir"):
        path, folder = args
        return f"{event} {path if folder < 0 else _folder(folder) / path}"
    elif event in ("os.mkdir", "os.rename"):
        return " ".join([event, *(str(x) for x in args if isinstance(x, str | os.PathLike))])
    return None


def _folder(descriptor):
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def kill(delay):
    if delay:
        threading.Event().wait(delay)
    os.kill(os.getpid(), signal.SIGKILL)


def killer(word, number, delay):
    left = number

    def audit(event, args):
        nonlocal left
        text = described(event, args)
        if text is None or word not in text:
            return
        left -= 1
        if left == 0 and delay:
            threading.Thread(target=kill, args=(delay,), daemon=True).start()
        elif left == 0:
            kill(0)

    return audit


def cutting(word, number):
    """`io.open`, whose files write half a text and no more, the last time."""
    usual, left = io.open, number

    def opened(path, *args, **options):
        file = usual(path, *args, **options)
        if word in str(path) and file.writable():
            file.write = writing(file, file.write)
        return file

    def writing(file, write):
        def cut(text):
            nonlocal left
            left -= 1
            if left:
                return write(text)
            write(text[: len(text) // 2])
            file.flush()
            return kill(0)

        return cut

    return opened


if __name__ == "__main__":
    word, number, delay, *rest = sys.argv[1:]
    if word.startswith("half "):
        io.open = cutting(word.removeprefix("half "), int(number))
    else:
        sys.addaudithook(killer(word, int(number), float(delay)))
    sys.exit(main(rest))
