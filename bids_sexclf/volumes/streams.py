"""Read the bytes of a NIfTI file once, from the first to the last, and check all of them.

A gzip file has the length and checksum of its content at its end. Readers that stop after the last
voxel miss them, and accept damaged scans. Here every file is read to its end in blocks, so that
memory does not grow with the file.
"""

import os
import stat
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np

CHUNK = 2**22
"""Largest block of content in memory, bytes."""

PACKED_CHUNK = 2**15
"""Bytes of a gzip file per reading; small, since zlib copies unused input."""

LARGEST_GB = 64
"""Largest content of an image, GB; a header with more is wrong."""

LARGEST_EXTENSION = 2**24
"""Bytes that may lie between the header and the voxels (DICOM headers, histories)."""

LARGEST_RATIO = 1032
"""Largest compression of deflate: content relative to the size of a gzip file."""


class StreamError(Exception):
    """The fault of an image file; the message is written after the name of the file."""


class ImageStream:
    """The header of a NIfTI file, and methods that read its voxels in order.

    Attributes
    ----------
    header : nibabel.Nifti1Header or nibabel.Nifti2Header
    shape : tuple of int
    dtype : numpy.dtype
        Of the values as stored.
    affine : ndarray, shape (4, 4)
        Voxel to world, mm, RAS+.
    slope, inter : float
        Values are ``stored * slope + inter``.
    """

    def __init__(self, blocks, size, packed):
        self._blocks, self._rest = blocks, memoryview(b"")
        self.header, self.offset = _read_header(self)
        self.shape = tuple(int(n) for n in self.header.get_data_shape())
        self.dtype = self.header.get_data_dtype()
        _check_size(self, size, packed)
        self.slope, self.inter = _read_scaling(self.header)
        self.affine = self.header.get_best_affine()
        _skip_extensions(self)

    def read_into(self, target):
        """Fill a buffer with the next bytes.

        Parameters
        ----------
        target : writable buffer

        Returns
        -------
        int
            Number of bytes read: fewer than requested only at the end of the file.
        """
        target, filled = memoryview(target).cast("B"), 0
        while filled < len(target):
            if not self._rest:
                self._rest = memoryview(self._next_block())
                if not self._rest:
                    break
            step = min(len(self._rest), len(target) - filled)
            target[filled : filled + step] = self._rest[:step]
            self._rest, filled = self._rest[step:], filled + step
        return filled

    def _next_block(self):
        """Return the next block of content; empty at the end of a complete file."""
        with _reading():
            return next(self._blocks, b"")

    def read(self, size):
        """Return up to `size` bytes, for the small parts of a file."""
        content = bytearray(size)
        return bytes(content[: self.read_into(content)])

    def read_values(self, out):
        """Read the next voxels, scaled as the header says, into a flat array of float32.

        Parameters
        ----------
        out : ndarray of float32, shape (n,)

        Raises
        ------
        StreamError
            If the file ends before.
        """
        from nibabel.volumeutils import apply_read_scaling

        if self.dtype.kind not in "iuf":
            raise StreamError(say_kind(self.dtype))
        scaling = np.float64(self.slope), np.float64(self.inter)
        stored = np.empty(min(len(out), CHUNK // self.dtype.itemsize), self.dtype)
        for start in range(0, len(out), max(len(stored), 1)):
            part = stored[: len(out) - start]
            read = self.read_into(part.view(np.uint8))
            if read < part.nbytes:
                raise StreamError(f"is truncated: voxel {start + read // part.itemsize} is missing")
            with np.errstate(over="ignore", invalid="ignore"):
                out[start : start + len(part)] = apply_read_scaling(part, *scaling)

    def check_all(self):
        """Read and check all voxels and the end of the file, without keeping them.

        Raises
        ------
        StreamError
            If the file is cut or damaged, or holds more than its header promises.
        """
        size = int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize
        block = bytearray(min(size, CHUNK))
        for start in range(0, size, CHUNK):
            read = self.read_into(memoryview(block)[: size - start])
            if read < min(size - start, CHUNK):
                raise StreamError(f"is truncated: it holds {start + read} of {size} bytes")
        self.check_end()

    def check_end(self):
        """Read the rest of the file, which must hold only a checksum.

        Raises
        ------
        StreamError
            If there is more content, or the checksum is wrong.
        """
        # One block is enough; the rest may be very long.
        if self._rest or self._next_block():
            raise StreamError("holds more than its header promises, behind the last voxel")


@contextmanager
def open_image(path):
    """Open a NIfTI file, compressed or not, for reading all of it in order.

    Parameters
    ----------
    path : path-like
        Ends in ``.nii`` or ``.nii.gz``.

    Yields
    ------
    ImageStream

    Raises
    ------
    StreamError
        For any fault of the file, also while the block reads it.
    """
    path, packed = Path(path), str(path).lower().endswith(".gz")
    if not str(path).lower().endswith((".nii", ".nii.gz")):
        raise StreamError("is no .nii or .nii.gz file; convert it (dcm2niix, mri_convert)")
    with _reading():
        size = _file_size(path)
        file = open(path, "rb", buffering=0)  # noqa: SIM115, closed below
    with file:
        yield ImageStream(_unpack(file) if packed else _plain(file), size, packed)


@contextmanager
def _reading():
    """Convert errors of reading to StreamError."""
    try:
        yield
    except EOFError as fault:
        raise StreamError(f"is truncated ({fault})") from fault
    except zlib.error as fault:
        raise StreamError(f"is damaged: its compressed content is not whole ({fault})") from fault
    except PermissionError as fault:
        raise StreamError("cannot be read, needed permission to read it") from fault
    except OSError as fault:
        raise StreamError(f"cannot be read ({fault.strerror or fault})") from fault


def say_kind(dtype):
    """Return the reason why values of a type cannot be used as a scan."""
    if dtype.names:
        return "holds colours (RGB), needed one number per voxel; it is a picture made of a scan"
    if dtype.kind == "c":
        return "holds complex numbers, needed their magnitude; export the magnitude image"
    return f"holds values of type {dtype}, needed integers or real numbers"


def _file_size(path):
    """Return the size of a file in bytes; raise StreamError if it is not a file."""
    if path.is_symlink() and not path.exists():
        raise StreamError(
            f"is a link to {os.readlink(path)}, which is not there; fetch it (datalad get, or "
            "git annex get)"
        )
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):  # reading a pipe could wait for ever
        raise StreamError("is no file")
    return about.st_size


def _plain(file):
    """Yield the content of an uncompressed file in blocks."""
    while block := file.read(CHUNK):
        yield block


def _unpack(file):
    """Yield the content of a gzip file in blocks; zlib checks length and sum of every member."""
    data, first = file.read(PACKED_CHUNK), True
    while data:
        data += file.read(1) if len(data) == 1 else b""
        if not data.startswith(b"\x1f\x8b"):
            raise StreamError(
                "is no gzip file, though its name says so"
                if first
                else "holds bytes behind the end of its compressed content"
            )
        member, first = zlib.decompressobj(wbits=31), False
        while not member.eof:
            block = member.decompress(data, CHUNK)
            if block:
                yield block
            data = member.unconsumed_tail
            if not (data or member.eof):
                data = file.read(PACKED_CHUNK)
                if not (data or block):
                    raise EOFError("its compressed content has no end")
        data = member.unused_data or file.read(PACKED_CHUNK)


def _read_header(stream):
    """Read the header at the beginning of a stream, and the offset of the first voxel."""
    import nibabel as nib

    start = stream.read(4)
    size = {int.from_bytes(start, order) for order in ("little", "big")}
    kind = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
    chosen = next((kind[n] for n in kind if n in size), None)
    if len(start) < 4 or chosen is None:
        raise StreamError("is no NIfTI image: it does not begin with a header")
    block = start + stream.read(chosen.sizeof_hdr - 4)
    if len(block) < chosen.sizeof_hdr:
        raise StreamError("is truncated: it ends within its header")
    try:
        raw = chosen(block, check=False)
        dims, offset = [int(n) for n in raw["dim"]], float(raw["vox_offset"])
        header = chosen(block, check=True)
        header.get_data_dtype(), header.get_best_affine()
    except Exception as fault:  # nibabel raises many kinds on a damaged header
        raise StreamError(f"has a damaged header ({' '.join(str(fault).split())[:200]})") from fault
    if not bytes(raw["magic"]).startswith(b"n+"):
        raise StreamError("is half of a pair (.hdr and .img), needed header and voxels in one file")
    if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1:
        raise StreamError(f"has dimensions {dims} in its header, needed sizes of at least 1")
    lowest = header.single_vox_offset
    if not offset.is_integer() or not lowest <= offset <= lowest + LARGEST_EXTENSION:
        raise StreamError(
            f"has its first voxel at byte {offset:g} (vox_offset), needed {lowest} or at most "
            f"{LARGEST_EXTENSION // 2**20} MB more"
        )
    return header, int(offset)


def _check_size(stream, size, packed):
    """Compare the size in the header with the size of the file."""
    promised = stream.offset + int(np.prod(stream.shape, dtype=object)) * stream.dtype.itemsize
    words = f"its header promises {promised} bytes"
    if promised > LARGEST_GB * 1e9:
        raise StreamError(f"is too large: {words}, and at most {LARGEST_GB} GB are read")
    if packed and promised > size * LARGEST_RATIO:
        raise StreamError(f"is truncated: {words}, which {size} compressed bytes cannot hold")
    if not packed and size != promised:
        state = "is truncated" if size < promised else "holds more than an image"
        raise StreamError(f"{state}: {words}, and it has {size}")


def _read_scaling(header):
    """Read slope and intercept; a slope of 0 means that values are as stored."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0:
        return 1.0, 0.0
    if not np.isfinite([slope, inter]).all():
        raise StreamError(
            f"has scl_slope {slope:g} and scl_inter {inter:g} in its header, needed numbers"
        )
    return slope, inter


def _skip_extensions(stream):
    """Skip to the first voxel; raise StreamError for extensions with wrong sizes."""
    room = stream.offset - stream.header.sizeof_hdr
    room_bytes = stream.read(room)
    if len(room_bytes) < room:
        raise StreamError("is truncated: it ends before its first voxel")
    order = "big" if stream.header.endianness == ">" else "little"
    place = 4
    while room_bytes[:1] != b"\0" and place + 16 <= room:
        size = int.from_bytes(room_bytes[place : place + 4], order, signed=True)
        if not 8 <= size <= room - place:
            raise StreamError(f"has an extension of {size} bytes in its header, which does not fit")
        place += size
