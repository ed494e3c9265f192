"""Find the faults of an image file before anything is computed from it."""

import hashlib
from dataclasses import dataclass

import numpy as np

from bids_sexclf.errors import InputError
from bids_sexclf.volumes.orientation import is_sheared, straighten
from bids_sexclf.volumes.streams import CHUNK, StreamError, open_image, say_kind

LARGEST = float(np.finfo(np.float32).max)
"""Largest value of float32."""

MOST_VOLUMES = 100_000
"""Largest number of volumes of a series; a header with more is wrong."""


@dataclass(frozen=True)
class Inspection:
    """Result of reading a whole image file.

    Attributes
    ----------
    shape : tuple of int
    zooms : tuple of float
        Voxel size in mm (and seconds for a fourth axis).
    fingerprint : str
        SHA-256 of the voxel values as stored; equal for copies of one scan.
    faults : tuple of str
        What is wrong, in words; empty for a usable image.
    """

    shape: tuple
    zooms: tuple
    fingerprint: str
    faults: tuple


def inspect(path):
    """Read a NIfTI image to its end and list its faults.

    Memory does not grow with the file: values are checked in chunks. A compressed file is checked
    against its length and checksums, and nothing may follow the last voxel. An uncompressed file
    has no checksum: a wrong length is detected, a changed voxel is not.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Inspection
    """
    shape, zooms, digest, faults = (), (), "", []
    try:
        with open_image(path) as stream:
            shape = stream.shape
            zooms = tuple(float(zoom) for zoom in stream.header.get_zooms())
            if any(not np.isfinite(zoom) or zoom <= 0 for zoom in zooms[:3]):
                faults.append(f"voxel size {zooms[:3]} is not positive")
            affine = stream.affine
            if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
                faults.append("the affine does not span space")
            elif len(shape) >= 3 and is_sheared(shape, affine):
                faults += _shear_faults(shape, affine)
            if stream.dtype.kind not in "iuf":
                raise StreamError(say_kind(stream.dtype))
            digest, values = _check_values(stream)
            stream.check_end()
            faults += values
    except StreamError as fault:
        faults.append(str(fault))
    return Inspection(shape, zooms, digest, tuple(faults))


def _shear_faults(shape, affine):
    """List a fault where axes are too far from right angles to be straightened."""
    try:
        straighten(shape, affine)
    except InputError as fault:
        return [f"has axes that cannot be used ({fault})"]
    return []


def _check_values(stream):
    """Read all values of an image; return their digest and their faults."""
    shape, dtype = stream.shape, stream.dtype
    per_volume = int(np.prod(shape[:3], dtype=object)) * dtype.itemsize
    count = int(np.prod(shape[3:], dtype=object))
    if count > MOST_VOLUMES:
        raise StreamError(f"has {count} volumes in its header, needed at most {MOST_VOLUMES}")
    digest = hashlib.sha256(repr((shape, str(dtype))).encode())
    constant, unfinite, large = [], [], []
    for index in range(count):
        low, high, bad, read = _one_volume(stream, per_volume, digest)
        if read < per_volume:
            raise StreamError(
                f"is truncated: volume {index} of {count} ends after {read} of {per_volume} bytes"
            )
        reach = max(abs(float(edge) * stream.slope + stream.inter) for edge in (low, high))
        if bad:
            unfinite.append((index, bad))
        elif low == high:
            constant.append(index)
        elif not reach <= LARGEST:
            large.append(index)
    faults = []
    if unfinite:
        total = sum(bad for _, bad in unfinite)
        faults.append(f"holds {total} non-finite values in volume(s) {_some(unfinite)}")
    if constant:
        faults.append(f"holds one constant value in volume(s) {_some(constant)}")
    if large:
        faults.append(f"holds values beyond {LARGEST:.2g} in volume(s) {_some(large)}")
    return digest.hexdigest(), faults


def _some(entries):
    indices = [entry[0] if isinstance(entry, tuple) else entry for entry in entries]
    return ", ".join(map(str, indices[:5])) + (" …" if len(indices) > 5 else "")


def _one_volume(stream, size, digest):
    """Read one volume in chunks; return lowest, highest, count of non-finite values, bytes read."""
    low, high, bad, n_read = np.inf, -np.inf, 0, 0
    buffer = np.empty(min(size, CHUNK - CHUNK % stream.dtype.itemsize), np.uint8)
    while n_read < size:
        block = buffer[: size - n_read]
        read = stream.read_into(block)
        n_read += read
        digest.update(block[:read])
        values = block[: read - read % stream.dtype.itemsize].view(stream.dtype)
        if stream.dtype.kind == "f":
            finite = np.isfinite(values)
            bad += values.size - int(finite.sum())
            values = values[finite] if bad else values
        if values.size:
            low, high = min(low, values.min()), max(high, values.max())
        if read < len(block):
            break
    return low, high, bad, n_read
