"""Read and write series by volume or by slab, since they may not fit into memory."""

import gzip
import os
import shutil
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import numpy as np

from bids_sexclf.disk import whole
from bids_sexclf.errors import InputError
from bids_sexclf.volumes.images import unreadable
from bids_sexclf.volumes.orientation import check_straight
from bids_sexclf.volumes.streams import CHUNK, StreamError, open_image


def open_series(path):
    """Open a series without reading it.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    nibabel.Nifti1Image
        Of four dimensions.

    Raises
    ------
    InputError
        If it cannot be read or has other dimensions.
    """
    # Keep the file open: a compressed file is then read once, not once per volume.
    image = _open(path, keep_file_open=True)
    if len(image.shape) != 4:
        raise _not_four(path, image.shape)
    return image


def _open(path, **options):
    """Open an image with nibabel, and check its header, and its size if not compressed."""
    import nibabel as nib

    try:
        with open_image(path):
            return nib.load(path, **options)
    except Exception as fault:  # nibabel raises many kinds on a damaged file
        raise unreadable(path, fault) from fault


def volumes(path):
    """Yield the volumes of a series one after the other.

    Parameters
    ----------
    path : path-like

    Yields
    ------
    ndarray of float32, shape (X, Y, Z)

    Raises
    ------
    InputError
        If the series cannot be read, or is damaged. The checksum is at the end of a compressed
        file, so the error may come after the last volume.
    """
    try:
        with open_image(path) as stream:
            if len(stream.shape) != 4:
                raise _not_four(path, stream.shape)
            for _ in range(stream.shape[3]):
                volume = np.empty(int(np.prod(stream.shape[:3])), np.float32)
                stream.read_values(volume)
                yield volume.reshape(stream.shape[:3], order="F")
            stream.check_end()
    except StreamError as fault:
        raise unreadable(path, fault) from fault


def _not_four(path, shape):
    """Return the error for an image that is not a series."""
    return InputError(
        f"Found {path} with shape {shape}, needed a series of volumes (four dimensions). Choose "
        "another file, or convert the scan again."
    )


def load_series(path):
    """Load a series as float32, shape (X, Y, Z, N); an uncompressed one is mapped, not read."""
    image = open_series(path)
    if not str(path).endswith(".gz") and image.get_data_dtype() == np.float32:
        return np.asarray(image.dataobj)
    array = np.empty(image.shape, np.float32, order="F")
    for index, volume in enumerate(volumes(path)):
        array[..., index] = volume
    return array


@contextmanager
def open_slabs(path, folder):
    """Open a 4-D image for reading slab by slab, so that memory does not grow with it.

    Parameters
    ----------
    path : path-like
        ``.nii`` or ``.nii.gz``.
    folder : path-like
        Where a compressed image is unpacked to while it is open: a slab of it
        could only be read by unpacking all that lies before.

    Yields
    ------
    series : nibabel.arrayproxy.ArrayProxy, shape (X, Y, Z, N)
        Slices of it are arrays with the file's scaling applied.
    affine : ndarray, shape (4, 4)
        Voxel to world, mm, RAS+.

    Raises
    ------
    InputError
        If the file cannot be read or has other dimensions.
    """
    unpacked = None
    try:
        if str(path).endswith(".gz"):
            unpacked = Path(folder, f"unpacked-{os.getpid()}.nii")
            _unpack(path, unpacked)
        # Mapped pages count as used memory; a slab that was read is freed.
        image = _open(unpacked or path, mmap=False)
        shape = image.shape[:4] + tuple(size for size in image.shape[4:] if size != 1)
        if len(shape) != 4:
            raise _not_four(path, image.shape)
        yield image.dataobj.reshape(shape), image.affine
    finally:
        if unpacked is not None:
            unpacked.unlink(missing_ok=True)


def _unpack(path, target):
    """Unpack a compressed image after checking it, so that a damaged file uses no disk space."""
    try:
        with open_image(path) as stream:
            stream.check_all()
        with gzip.open(path) as packed, open(target, "wb") as plain:
            shutil.copyfileobj(packed, plain, CHUNK)
    except StreamError as fault:
        raise unreadable(path, fault) from fault


def series_gb(path):
    """Return the size of a series as float32, GB, from its header; 0.5 where there is none."""
    import nibabel as nib

    try:
        return float(np.prod(nib.load(path).shape, dtype=float) * 4 / 2**30)
    except Exception:  # a damaged header is reported when the series is read
        return 0.5


def make_series(path, shape, affine):
    """Make an uncompressed float32 series on disk.

    Parameters
    ----------
    path : path-like
        Ends in ``.nii``.
    shape : tuple of int
    affine : ndarray, shape (4, 4)

    Returns
    -------
    numpy.memmap, shape `shape`
        Assignments to it change the file.
    """
    header = _header(shape, affine)
    with open(path, "wb") as stream:
        header.write_to(stream)
        stream.truncate(int(header["vox_offset"]) + int(np.prod(shape)) * 4)
    return np.memmap(path, np.float32, "r+", int(header["vox_offset"]), shape, order="F")


@contextmanager
def series_writer(path, shape, affine):
    """Return a function that appends a volume to a new float32 series.

    Parameters
    ----------
    path : path-like
        Ends in ``.nii`` or ``.nii.gz``.
    shape : tuple of int
    affine : ndarray, shape (4, 4)

    Yields
    ------
    callable
    """
    import nibabel as nib

    header = _header(shape, affine)
    level = {"compresslevel": 3} if str(path).endswith(".gz") else {}
    with nib.openers.Opener(str(path), "wb", **level) as stream:
        header.write_to(stream)
        stream.write(b"\0" * (int(header["vox_offset"]) - header.sizeof_hdr - 4))
        yield lambda volume: stream.write(np.asarray(volume, "<f4").tobytes(order="F"))


def save_volumes(volumes, count, affine, path):
    """Save volumes as one uncompressed 4-D NIfTI image of float32, holding one at a time.

    Parameters
    ----------
    volumes : iterable of ndarray, shape (X, Y, Z)
    count : int
        How many there are.
    affine : ndarray, shape (4, 4)
    path : path-like
        Ends in ``.nii``.
    """
    volumes = iter(volumes)
    first = next(volumes)
    with whole(path) as part, series_writer(part, (*first.shape, count), affine) as write:
        for volume in chain([first], volumes):
            write(volume)


def _header(shape, affine):
    """Make the header of a float32 series in millimetres."""
    import nibabel as nib

    check_straight(shape, affine, "a series")
    image = nib.Nifti1Image(np.broadcast_to(np.float32(0), shape), affine)
    header = image.header
    header.set_data_dtype("<f4")
    header.set_data_shape(shape)
    header.set_xyzt_units("mm", "sec")
    header.set_sform(affine, 1)
    header.set_qform(affine, 1)
    header.set_data_offset(header.single_vox_offset)
    header.set_slope_inter(1, 0)  # as nibabel does; not every program accepts NaN here
    return header
