"""Store the volumes of all participants in one array that is mapped from disk."""

import errno
import math
import mmap
import os
import shutil
from contextlib import contextmanager

import numpy as np

from bids_sexclf.disk import whole
from bids_sexclf.errors import GridError, InputError

NO_RESERVE = {errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS}
"""Errors of a file system that cannot reserve space."""


@contextmanager
def new_cohort(path, shape):
    """Create a cohort array to write to: participants × X × Y × Z, float32, mapped from disk.

    The file gets its final name when the block ends without an error, so that a reader never sees
    an incomplete array. A reader of an older file keeps that one.

    Parameters
    ----------
    path : path-like
        A ``.npy`` file.
    shape : tuple of int

    Yields
    ------
    numpy.memmap
        Zeros.

    Raises
    ------
    OSError
        If the disk has no space for the array. The space is reserved first: a full disk would
        otherwise kill the process when it writes a page.
    """
    with whole(path) as part:
        if shutil.disk_usage(part).free < 4 * math.prod(shape):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        array = np.lib.format.open_memmap(part, "w+", np.float32, shape)
        _reserve(part, path)
        yield array
        array.flush()


def _reserve(part, path):
    """Reserve disk space for the whole file, without changing its content."""
    if not hasattr(os, "posix_fallocate"):
        return
    with open(part, "r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        except OSError as fault:
            if fault.errno not in NO_RESERVE:
                raise OSError(fault.errno, fault.strerror, str(path)) from fault


def open_cohort(path):
    """Open a cohort array to read from: participants × X × Y × Z, float32, mapped from disk.

    Parameters
    ----------
    path : path-like
        A ``.npy`` file.

    Returns
    -------
    numpy.memmap

    Raises
    ------
    InputError
        If the file is absent or damaged.
    """
    try:
        array = np.lib.format.open_memmap(path, "r")
        if array.dtype != np.float32 or array.ndim != 4 or not array.flags.c_contiguous:
            raise ValueError(f"an array of {array.dtype} of shape {array.shape}")
        if array.offset + array.nbytes != os.path.getsize(path):
            raise ValueError("its size is not what its header tells")
        return array
    except Exception as fault:  # numpy raises many kinds on a damaged header
        raise InputError(
            f"Found {path}, which is no cohort array ({fault}); needed the one that the cohort "
            "stage writes. Run again with --first cohort."
        ) from fault


def release(array):
    """Release the memory pages of a mapped array; they stay in the cache of the system.

    Otherwise the resident memory would grow with every participant that is read.

    Parameters
    ----------
    array : array-like
        Anything but a ``numpy.memmap`` is left alone.
    """
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


class Rows:
    """A view of some participants of a cohort array; it loads data only on access.

    Parameters
    ----------
    array : array-like, shape (n, X, Y, Z)
        Usually a memory-mapped cohort array.
    index : array-like of int or bool
        Which participants, in which order.

    Examples
    --------
    >>> rows = Rows(np.arange(3, dtype=np.float32).reshape(3, 1, 1, 1), [2, 0])
    >>> len(rows), rows.shape, rows[[0, 1]].ravel().tolist()
    (2, (2, 1, 1, 1), [2.0, 0.0])
    """

    def __init__(self, array, index):
        index = np.asarray(index)
        self.array = array
        self.index = np.flatnonzero(index) if index.dtype == bool else index.astype(np.intp)

    def __len__(self):
        return len(self.index)

    @property
    def shape(self):
        """Participants and grid: (k, X, Y, Z)."""
        return (len(self), *self.array.shape[1:])

    def __getitem__(self, participants):
        """Load one participant, shape (X, Y, Z), or several, shape (k, X, Y, Z), float32."""
        index = self.index[participants]
        # Several rows are already a copy; a single row is a view of the mapped file.
        copy = np.array if np.ndim(index) == 0 else np.asarray
        values = copy(self.array[index], dtype=np.float32)
        release(self.array)
        return values


class Channels:
    """A view of the same participants in several cohort arrays, as channels of one volume.

    Parameters
    ----------
    maps : list of Rows
        One per channel, of the same participants on one grid.

    Examples
    --------
    >>> rows = Rows(np.arange(3, dtype=np.float32).reshape(3, 1, 1, 1), [2, 0])
    >>> both = Channels([rows, rows])
    >>> len(both), both.shape, both[1].shape, both[[0, 1]].shape
    (2, (2, 2, 1, 1, 1), (2, 1, 1, 1), (2, 2, 1, 1, 1))
    """

    def __init__(self, maps):
        self.maps = list(maps)
        if len({rows.shape for rows in self.maps}) != 1:
            raise GridError(
                f"Found maps of shapes {sorted({rows.shape for rows in self.maps})} to be read "
                "together, needed one. Run again with --first cohort."
            )

    def __len__(self):
        return len(self.maps[0])

    @property
    def shape(self):
        """Participants, channels and grid: (k, c, X, Y, Z)."""
        return (len(self), len(self.maps), *self.maps[0].shape[1:])

    def channel(self, number):
        """Return the rows of one map."""
        return self.maps[number]

    def __getitem__(self, participants):
        """Load one participant, shape (c, X, Y, Z), or several, shape (k, c, X, Y, Z)."""
        return np.stack([rows[participants] for rows in self.maps], axis=-4)
