"""Say what is wrong with an image file before anything is computed from it."""

import gzip
import hashlib
import zlib
from dataclasses import dataclass

import numpy as np

CHUNK = 2**22
"""How much of a stream is held at once, bytes."""


@dataclass(frozen=True)
class Inspection:
    """What the whole stream of an image file says.

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
    """Read the whole stream of a NIfTI image and say what is wrong with it.

    Memory does not grow with the file: values are checked in chunks. Half a
    ``.nii.gz`` is found, since the stream ends before its promised end.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Inspection
    """
    import nibabel as nib

    try:
        image = nib.load(path)
        header, shape = image.header, tuple(int(size) for size in image.shape)
        dtype, offset = header.get_data_dtype(), int(image.dataobj.offset)
    except Exception as fault:  # nibabel raises many kinds on a damaged header
        reason = " ".join(str(fault).split())[:200]
        return Inspection((), (), "", (f"cannot be read as an image ({reason})",))
    zooms = tuple(float(zoom) for zoom in header.get_zooms())
    faults = []
    if any(not np.isfinite(zoom) or zoom <= 0 for zoom in zooms[:3]):
        faults.append(f"voxel size {zooms[:3]} is not positive")
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine[:3, :3])) < 1e-6:
        faults.append("the affine does not span space")
    digest, values = _stream(path, offset, dtype, shape)
    return Inspection(shape, zooms, digest, tuple(faults + values))


def _stream(path, offset, dtype, shape):
    """Walk through the values of an image: their digest and their faults."""
    per_volume = int(np.prod(shape[:3])) * dtype.itemsize
    count = int(np.prod(shape[3:])) if len(shape) > 3 else 1
    digest, faults = hashlib.sha256(repr((shape, str(dtype))).encode()), []
    opened = gzip.open if str(path).endswith(".gz") else open
    try:
        with opened(path, "rb") as stream:
            stream.seek(offset)
            constant, unfinite = [], []
            for index in range(count):
                low, high, bad, read = _one_volume(stream, per_volume, dtype, digest)
                if read < per_volume:
                    faults.append(
                        f"is truncated: volume {index} of {count} ends after {read} of "
                        f"{per_volume} bytes"
                    )
                    break
                if bad:
                    unfinite.append((index, bad))
                elif low == high:
                    constant.append(index)
            stream.read(1)  # reaches the checksum that closes a gzip stream
    except (OSError, EOFError, zlib.error) as fault:
        return digest.hexdigest(), [f"is truncated or damaged ({fault})"]
    if unfinite:
        total = sum(bad for _, bad in unfinite)
        faults.append(f"holds {total} non-finite values in volume(s) {_some(unfinite)}")
    if constant:
        faults.append(f"holds one constant value in volume(s) {_some(constant)}")
    return digest.hexdigest(), faults


def _some(entries):
    indices = [entry[0] if isinstance(entry, tuple) else entry for entry in entries]
    return ", ".join(map(str, indices[:5])) + (" …" if len(indices) > 5 else "")


def _one_volume(stream, size, dtype, digest):
    """Read one volume in chunks: lowest, highest, count of non-finite values, bytes read."""
    low, high, bad, read = np.inf, -np.inf, 0, 0
    step = CHUNK - CHUNK % dtype.itemsize
    while read < size:
        block = stream.read(min(step, size - read))
        if not block:
            break
        read += len(block)
        digest.update(block)
        values = np.frombuffer(block[: len(block) - len(block) % dtype.itemsize], dtype)
        if dtype.kind in "fc":
            finite = np.isfinite(values)
            bad += int((~finite).sum())
            values = np.abs(values[finite]) if dtype.kind == "c" else values[finite]
        if values.size and dtype.names is None:
            low, high = min(low, values.min()), max(high, values.max())
    return low, high, bad, read
