"""Load images as arrays, and save arrays as images; incomplete files never remain."""

import numpy as np

from bids_sexclf.disk import whole
from bids_sexclf.errors import InputError, ToolError
from bids_sexclf.volumes.grids import Grid, resample
from bids_sexclf.volumes.orientation import check_straight, is_sheared, straighten
from bids_sexclf.volumes.streams import StreamError, open_image


def load(path, ndim=None):
    """Load an image as an array, and check that its file is complete.

    A compressed file is read to its end, its checksums are verified, and nothing may follow the
    last voxel. An uncompressed file must have the size stated in its header; it has no checksum,
    so a changed voxel is not detected.

    Parameters
    ----------
    path : path-like
        Ends in ``.nii`` or ``.nii.gz``.
    ndim : int, optional
        Dimensions the array must have; a trailing axis of length one is dropped.

    Returns
    -------
    array : ndarray of float32, shape (X, Y, Z) or (X, Y, Z, N)
    affine : ndarray, shape (4, 4)
        Voxel to world, mm, RAS+.

    Raises
    ------
    InputError
        If the file cannot be read, is damaged, or has other dimensions.

    Notes
    -----
    An image with sheared axes is resampled on the grid that `straighten` returns: masks to the
    nearest voxel, all others by linear interpolation.
    """
    try:
        with open_image(path) as stream:
            shape, affine = stream.shape, stream.affine
            values = np.empty(int(np.prod(shape)), np.float32)
            stream.read_values(values)
            stream.check_end()
    except StreamError as fault:
        raise unreadable(path, fault) from fault
    array = values.reshape(shape, order="F")
    if array.ndim >= 3 and is_sheared(shape, affine):
        array, affine = _straight(array, affine)
    while ndim is not None and array.ndim > ndim and array.shape[-1] == 1:
        array = array[..., 0]
    if ndim is not None and array.ndim != ndim:
        raise InputError(
            f"Found {path} with shape {array.shape}, needed {ndim} dimensions. Choose another "
            "file, or convert the scan again."
        )
    return array, affine


def _straight(array, affine):
    """Resample a volume, or each volume of a series, on the grid without shear."""
    grid, is_mask = straighten(array.shape, affine), len(np.unique(array[..., :1])) <= 2
    order = 0 if is_mask and len(np.unique(array)) <= 2 else 1
    series = array.reshape(*array.shape[:3], -1)
    resampled = [
        resample(series[..., index], affine, grid, order) for index in range(series.shape[3])
    ]
    return np.stack(resampled, axis=-1).reshape(*grid.shape, *array.shape[3:]), grid.affine


def unreadable(path, fault):
    """Return the error for an image that cannot be read.

    Parameters
    ----------
    path : path-like
    fault : Exception
        A `StreamError`, whose words follow the name, or what another reader raised.

    Returns
    -------
    InputError
    """
    words = str(fault) if isinstance(fault, StreamError) else f"cannot be read ({fault})"
    return InputError(
        f"Found {path}, which {words}; needed a whole NIfTI image. Copy it again from its source."
    )


def save(array, affine, path):
    """Save an array as a NIfTI image in millimetres; an incomplete file never remains.

    Parameters
    ----------
    array : ndarray
        Bool becomes uint8; float64 becomes float32.
    affine : ndarray, shape (4, 4)
    path : path-like
        Ends in ``.nii`` or ``.nii.gz``.

    Raises
    ------
    InputError
        If the axes are sheared.
    """
    import nibabel as nib

    array = np.asarray(array)
    check_straight(array.shape, affine, path)
    narrow = {"b": np.uint8, "f": np.float32}.get(array.dtype.kind, array.dtype)
    image = nib.Nifti1Image(array.astype(narrow), affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    with whole(path) as part:
        nib.save(image, part)


def save_field(field, affine, path):
    """Save a displacement field in ANTs format; an incomplete file never remains.

    Parameters
    ----------
    field : ndarray, shape (X, Y, Z, 3)
        mm, LPS+.
    affine : ndarray, shape (4, 4)
    path : path-like
    """
    import nibabel as nib

    image = nib.Nifti1Image(np.asarray(field, dtype=np.float32)[:, :, :, None, :], affine)
    image.header.set_intent("vector")
    image.header.set_xyzt_units("mm")
    with whole(path) as part:
        nib.save(image, part)


def check_written(path):
    """Check that a compressed image is complete, and return its path.

    Libraries may not report an error when they close a file on a full disk. The last four bytes of
    a gzip file are the length of its content, so no voxel needs to be read.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    path-like
        The same.

    Raises
    ------
    ToolError
        If the file is cut off.
    """
    import nibabel as nib

    if not str(path).endswith(".nii.gz"):
        return path
    try:
        image = nib.load(path)
        count = int(np.prod(image.shape, dtype=np.int64))
        needed = int(image.dataobj.offset) + count * image.get_data_dtype().itemsize
        with open(path, "rb") as file:
            file.seek(-4, 2)
            content_size = int.from_bytes(file.read(), "little")
    except Exception as fault:  # nibabel and gzip raise many kinds on a damaged file
        needed, content_size = fault, None
    if content_size is None or content_size != needed % 2**32:
        raise ToolError(
            f"Found {path} written only in part ({content_size} of {needed} bytes), needed all of "
            "it. Make room on its disk and run again."
        )
    return path


def read_grid(path):
    """Read the grid of an image from its header.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Grid
        Shape and affine of the first three axes, as `load` returns them.

    Raises
    ------
    InputError
        If the header cannot be read.
    """
    import nibabel as nib

    try:
        image = nib.load(path)
        shape, affine = tuple(int(size) for size in image.shape[:3]), np.asarray(image.affine)
        return straighten(shape, affine) if is_sheared(shape, affine) else Grid(shape, affine)
    except Exception as fault:  # nibabel raises many kinds on a damaged header
        raise unreadable(path, fault) from fault
