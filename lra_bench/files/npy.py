"""Read the headers of .npy files, which anybody may have written."""

import math
import os
import warnings
from io import BufferedReader, BytesIO
from typing import TYPE_CHECKING

from lra_bench.errors import one_line

if TYPE_CHECKING:
    import numpy as np


def npy_header(file: BufferedReader | BytesIO) -> "tuple[tuple[int, ...], bool, np.dtype]":
    """Read the header of a .npy file: shape, whether it is in Fortran's order, and dtype.

    Raises:
        ValueError: it is not a header, or the file is too short for the array that it announces.
    """
    from numpy.lib import format as npy

    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        version = npy.read_magic(file)
        if version not in readers:
            raise ValueError(f"format version {version[0]}.{version[1]}, must be 1.0 or 2.0")
        with warnings.catch_warnings(action="error"):  # numpy warns of headers that it has to mend
            shape, is_fortran, dtype = readers[version](file)
        expected = math.prod(shape) * dtype.itemsize
    except MemoryError:
        raise ValueError("not a .npy file: its header is nested too deeply") from None
    except Exception as error:  # numpy parses the header as a Python literal
        raise ValueError(f"not a .npy file: {one_line(error)}") from None
    start = file.tell()
    size = file.seek(0, os.SEEK_END) - start
    file.seek(start)
    if dtype.hasobject:
        raise ValueError("holds Python objects, which are not read (allow_pickle=False)")
    if size != expected or any(count < 0 for count in shape):
        raise ValueError(f"not the {dtype} array of shape {shape} that its header announces")
    return shape, is_fortran, dtype
