"""Diffusion series read and written one volume at a time."""

from contextlib import contextmanager

import nibabel as nib
import numpy as np

from bids_sexclf.errors import InputError


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
    try:
        # One open file: a compressed one is then read through once, not once per volume.
        image = nib.load(path, keep_file_open=True)
    except Exception as fault:  # nibabel raises many kinds on a damaged file
        raise InputError(
            f"Found {path}, which cannot be read ({fault}); needed a whole NIfTI image. Copy it "
            "again from its source."
        ) from fault
    if len(image.shape) != 4:
        raise InputError(
            f"Found {path} with shape {image.shape}, needed a series of volumes (four "
            "dimensions). Choose another file, or convert the scan again."
        )
    return image


def volumes(path):
    """Give the volumes of a series one after the other, float32, shape (X, Y, Z) each."""
    image = open_series(path)
    for index in range(image.shape[3]):
        try:
            yield np.asarray(image.dataobj[..., index], dtype=np.float32)
        except Exception as fault:  # a stream that ends early, or is damaged
            raise InputError(
                f"Found {path}, whose volume {index} cannot be read ({fault}); needed a whole "
                "series. Copy it again from its source."
            ) from fault


def load_series(path):
    """Load a series as float32, shape (X, Y, Z, N); an uncompressed one is mapped, not read."""
    image = open_series(path)
    if not str(path).endswith(".gz") and image.get_data_dtype() == np.float32:
        return np.asarray(image.dataobj)
    array = np.empty(image.shape, np.float32, order="F")
    for index, volume in enumerate(volumes(path)):
        array[..., index] = volume
    return array


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
        What is assigned to it is in the file.
    """
    header = _header(shape, affine)
    with open(path, "wb") as stream:
        header.write_to(stream)
        stream.truncate(int(header["vox_offset"]) + int(np.prod(shape)) * 4)
    return np.memmap(path, np.float32, "r+", int(header["vox_offset"]), shape, order="F")


@contextmanager
def series_writer(path, shape, affine):
    """Give a function that appends a volume to a new float32 series.

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
    header = _header(shape, affine)
    level = {"compresslevel": 3} if str(path).endswith(".gz") else {}
    with nib.openers.Opener(str(path), "wb", **level) as stream:
        header.write_to(stream)
        stream.write(b"\0" * (int(header["vox_offset"]) - header.sizeof_hdr - 4))
        yield lambda volume: stream.write(np.asarray(volume, "<f4").tobytes(order="F"))


def series_gb(path):
    """Give the size of a series as float32, GB, from its header; 0.5 where there is none."""
    try:
        return float(np.prod(nib.load(path).shape, dtype=float) * 4 / 2**30)
    except Exception:  # a damaged header is met with a clear word when the series is read
        return 0.5


def motion_gb(path):
    """Give the memory that the estimate of motion of a series takes, GB, from its header.

    Motion is estimated on voxels averaged to at most 2.5 mm; five copies of such a series are held.
    """
    from bids_sexclf.motion.align import coarsen

    try:
        image = nib.load(path)
        factors, _ = coarsen(image.shape[:3], image.affine)
    except Exception:  # as in `series_gb`
        factors = (1,)
    return 5 * series_gb(path) / float(np.prod(factors))


def _header(shape, affine):
    """Make the header of a float32 series in millimetres."""
    image = nib.Nifti1Image(np.broadcast_to(np.float32(0), shape), affine)
    header = image.header
    header.set_data_dtype("<f4")
    header.set_data_shape(shape)
    header.set_xyzt_units("mm", "sec")
    header.set_sform(affine, 1)
    header.set_qform(affine, 1)
    header.set_data_offset(352)
    return header
