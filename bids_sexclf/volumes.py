"""Turn images into arrays: same-grid check, masking, the memory-mapped cohort array."""

import gzip
import hashlib
import mmap
import os
import shutil
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_sexclf.disk import whole
from bids_sexclf.errors import GridError, InputError, ToolError

CHUNK = 2**22


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


def load(path, ndim=None):
    """Load an image as an array.

    Parameters
    ----------
    path : path-like
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
        If the file cannot be read or has other dimensions.
    """
    import nibabel as nib

    try:
        image = nib.load(path)
        array = np.asarray(image.dataobj, dtype=np.float32)
    except Exception as fault:  # nibabel raises many kinds on a damaged file
        raise InputError(
            f"Found {path}, which cannot be read ({fault}); needed a whole NIfTI image. Copy it "
            "again from its source."
        ) from fault
    while ndim is not None and array.ndim > ndim and array.shape[-1] == 1:
        array = array[..., 0]
    if ndim is not None and array.ndim != ndim:
        raise InputError(
            f"Found {path} with shape {array.shape}, needed {ndim} dimensions. Choose another "
            "file, or convert the scan again."
        )
    return array, image.affine


@contextmanager
def open_series(path, folder):
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
    import nibabel as nib

    unpacked = None
    try:
        try:
            if str(path).endswith(".gz"):
                unpacked = Path(folder, f"unpacked-{os.getpid()}.nii")
                with gzip.open(path) as packed, unpacked.open("wb") as plain:
                    shutil.copyfileobj(packed, plain, CHUNK)
            # What is mapped counts as memory in use; what is read is gone with its slab.
            image = nib.load(unpacked or path, mmap=False)
        except Exception as fault:  # nibabel and gzip raise many kinds on a damaged file
            raise InputError(
                f"Found {path}, which cannot be read ({fault}); needed a whole NIfTI image. Copy "
                "it again from its source."
            ) from fault
        shape = image.shape[:4] + tuple(size for size in image.shape[4:] if size != 1)
        if len(shape) != 4:
            raise InputError(
                f"Found {path} with shape {image.shape}, needed 4 dimensions. Choose another "
                "file, or convert the scan again."
            )
        yield image.dataobj.reshape(shape), image.affine
    finally:
        if unpacked is not None:
            unpacked.unlink(missing_ok=True)


def save(array, affine, path):
    """Save an array as a NIfTI image in millimetres that is whole or absent.

    Parameters
    ----------
    array : ndarray
        Bool becomes uint8; float64 becomes float32.
    affine : ndarray, shape (4, 4)
    path : path-like
        Ends in ``.nii`` or ``.nii.gz``.
    """
    import nibabel as nib

    array = np.asarray(array)
    narrow = {"b": np.uint8, "f": np.float32}.get(array.dtype.kind, array.dtype)
    image = nib.Nifti1Image(array.astype(narrow), affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    with whole(path) as part:
        nib.save(image, part)


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
    import nibabel as nib

    header = nib.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_xyzt_units("mm", "sec")
    with whole(path) as part, open(part, "wb") as file:
        for index, volume in enumerate(volumes):
            if index == 0:
                header.set_data_shape((*volume.shape, count))
                header.set_sform(affine, 1)
                header.set_qform(affine, 1)
                header.set_data_offset(header.single_vox_offset)
                header.write_to(file)
                file.seek(header.single_vox_offset)
            file.write(np.asarray(volume, dtype=np.float32).tobytes(order="F"))


def check_written(path):
    """Return the path of a compressed image if it holds all its header promises.

    Libraries that close a file on a full disk may say nothing. The last four bytes of a gzip
    file are the length of what it holds, so this reads no voxel.

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
            held = int.from_bytes(file.read(), "little")
    except Exception as fault:  # nibabel and gzip raise many kinds on a damaged file
        needed, held = fault, None
    if held is None or held != needed % 2**32:
        raise ToolError(
            f"Found {path} written only in part ({held} of {needed} bytes), needed all of it. "
            "Make room on its disk and run again."
        )
    return path


def check_same_grid(shape, affine, other_shape, other_affine, names=("one volume", "the other")):
    """Refuse two volumes that do not lie on one grid.

    Parameters
    ----------
    shape, other_shape : tuple of int
        Compared over the first three axes.
    affine, other_affine : ndarray, shape (4, 4)
        Compared to 1e-3 mm.
    names : pair of str
        What to call them in the message.

    Raises
    ------
    GridError
    """
    first, second = names
    if tuple(shape[:3]) != tuple(other_shape[:3]):
        raise GridError(
            f"Found {first} with shape {tuple(shape[:3])} and {second} with "
            f"{tuple(other_shape[:3])}, needed one grid. Make both at one resolution."
        )
    offset = np.abs(np.asarray(affine) - np.asarray(other_affine)).max()
    if offset > 1e-3:
        raise GridError(
            f"Found {first} and {second} with affines that differ by {offset:.4g}, needed one "
            "grid. Make both in one space, with one origin and one orientation."
        )


def same_grid(first, second, voxels=1e-3):
    """Say whether two grids are one, up to a share of a voxel at the corners.

    Parameters
    ----------
    first, second : pair
        Shape (X, Y, Z) and affine.
    voxels : float
        Share of the first grid's smallest voxel size.

    Returns
    -------
    bool
    """
    (shape, affine), (other, own) = first, second
    if tuple(shape[:3]) != tuple(other[:3]):
        return False
    corners = np.array(np.meshgrid(*[[0, size - 1] for size in shape[:3]])).reshape(3, -1)
    apart = (np.asarray(affine) - own)[:3] @ np.vstack([corners, np.ones(8)])
    return bool(np.abs(apart).max() <= voxels * np.linalg.norm(affine[:3, :3], axis=0).min())


def turn_axes(array, affine, like):
    """Flip and permute a volume's axes to those of another, without interpolation.

    Parameters
    ----------
    array : ndarray, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
    like : ndarray, shape (4, 4)
        Affine whose axes to follow, to the nearest.

    Returns
    -------
    array : ndarray
    affine : ndarray, shape (4, 4)
    """
    from nibabel import orientations as turns

    turn = turns.ornt_transform(turns.io_orientation(affine), turns.io_orientation(like))
    turned = turns.apply_orientation(array, turn)
    return turned, affine @ turns.inv_ornt_aff(turn, array.shape)


@dataclass(frozen=True)
class Grid:
    """A box of voxels in world space.

    Attributes
    ----------
    shape : tuple of int
        (X, Y, Z).
    affine : ndarray, shape (4, 4)
        Voxel to world, mm.
    """

    shape: tuple
    affine: np.ndarray

    @property
    def voxel_size(self):
        """Voxel size in mm, shape (3,)."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)


def rescale_grid(grid, voxel_size):
    """Cover the field of view of a grid with voxels of another size.

    Parameters
    ----------
    grid : Grid
    voxel_size : float
        Edge, mm.

    Returns
    -------
    Grid
        The same grid where the size is already right (to 1e-3 mm).
    """
    ratio = voxel_size / grid.voxel_size
    if np.allclose(ratio, 1, atol=1e-3):
        return grid
    shape = np.ceil(np.asarray(grid.shape[:3]) / ratio - 1e-6).astype(int)
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, :3] * ratio
    # The corner of the field of view stays; voxel centres move by half the change in size.
    affine[:3, 3] += grid.affine[:3, :3] @ ((ratio - 1) / 2)
    return Grid(tuple(int(size) for size in shape), affine)


def crop_grid(grid, mask, margin=1):
    """Cut a grid to the box around a mask.

    Parameters
    ----------
    grid : Grid
    mask : ndarray of bool, shape grid.shape
    margin : int
        Voxels kept around the box where the grid reaches.

    Returns
    -------
    Grid
    tuple of slice
        Where the box lies in the grid.
    """
    inside = np.argwhere(mask)
    low = np.maximum(inside.min(0) - margin, 0)
    high = np.minimum(inside.max(0) + 1 + margin, grid.shape)
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    box = tuple(slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))
    return Grid(tuple(int(size) for size in high - low), affine), box


def resample(array, affine, grid, order=1):
    """Carry a volume to another grid in the same world space.

    A coarser grid averages: the volume is smoothed to the new voxel size first.

    Parameters
    ----------
    array : ndarray, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
    grid : Grid
    order : int
        0 for labels and masks, which are never smoothed; 1 for values.

    Returns
    -------
    ndarray, shape grid.shape
        Zero outside the field of view.
    """
    from scipy.ndimage import affine_transform, gaussian_filter

    if array.shape == tuple(grid.shape) and np.allclose(affine, grid.affine, atol=1e-3):
        return array
    old = np.linalg.norm(affine[:3, :3], axis=0)
    if order:
        # A Gaussian whose full width at half maximum makes up the difference in voxel size.
        width = np.sqrt(np.maximum(grid.voxel_size**2 - old**2, 0)) / old
        array = gaussian_filter(array.astype(np.float32), width / 2.3548)
    step = np.linalg.inv(affine) @ grid.affine
    return affine_transform(array, step[:3, :3], step[:3, 3], grid.shape, order=order)


def open_cohort(path, shape=None):
    """Open a cohort array: participants × X × Y × Z, float32, mapped from disk.

    Parameters
    ----------
    path : path-like
        A ``.npy`` file.
    shape : tuple of int, optional
        Make a new one of this shape, to be written.

    Returns
    -------
    numpy.memmap

    Raises
    ------
    InputError
        If the file is absent or damaged.
    """
    if shape is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return np.lib.format.open_memmap(path, "w+", np.float32, shape)
    try:
        return np.lib.format.open_memmap(path, "r")
    except (OSError, ValueError) as fault:
        raise InputError(
            f"Found {path}, which is no cohort array ({fault}); needed the one that the cohort "
            "stage writes. Run again with --first cohort."
        ) from fault


def release(array):
    """Hand the pages of a mapped array back: they stay in the system's cache, not in this process.

    Without it the resident memory would grow with every participant that was read once.

    Parameters
    ----------
    array : array-like
        Anything but a ``numpy.memmap`` is left alone.
    """
    held = getattr(array, "_mmap", None)
    if held is not None and hasattr(mmap, "MADV_DONTNEED"):
        held.madvise(mmap.MADV_DONTNEED)


class Rows:
    """View some participants of a cohort array; nothing is loaded before it is asked for.

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

    def __getitem__(self, which):
        """Load one participant, shape (X, Y, Z), or several, shape (k, X, Y, Z), as float32."""
        values = np.array(self.array[self.index[which]], dtype=np.float32)
        release(self.array)
        return values


class Channels:
    """View the same participants of several cohort arrays as the channels of one volume.

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
        """Give the rows of one map."""
        return self.maps[number]

    def __getitem__(self, which):
        """Load one participant, shape (c, X, Y, Z), or several, shape (k, c, X, Y, Z)."""
        return np.stack([rows[which] for rows in self.maps], axis=-4)
