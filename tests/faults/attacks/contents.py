"""Compare what two runs have written."""

import numpy as np

OUTSIDE = ("work", "logs")
"""Folders of an output folder that are no results."""


def contents(out, outside=OUTSIDE):
    """Give the content of every result: arrays of images and transforms, bytes of the rest.

    Parameters
    ----------
    out : pathlib.Path
    outside : tuple of str
        Names of folders that are left out, wherever they lie.

    Returns
    -------
    dict of str to object
        Path below the folder to its content.
    """
    held = {}
    for path in sorted(out.rglob("*")):
        inside = path.relative_to(out)
        is_result = path.is_file() and path.suffix != ".lock"
        if is_result and not set(inside.parts[:-1]) & set(outside):
            held[str(inside)] = path.read_bytes() if is_part(path) else content(path)
    return held


def is_part(path):
    """Say whether a file was being written when its writer ended."""
    return path.name.startswith(".part-")


def content(path):
    """Give what one file holds, without the times that some formats keep."""
    import nibabel as nib

    if path.name.endswith(".nii.gz"):
        image = nib.load(path)
        return np.asarray(image.dataobj).tobytes(), image.affine.tobytes()
    if path.suffix == ".h5":
        return _arrays(path)
    return path.read_bytes()


def _arrays(path):
    import h5py

    arrays = []

    def add(name, item):
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            arrays.append((name, item[()].tobytes()))

    with h5py.File(path) as file:
        file.visititems(add)
    return arrays


def differences(first, second):
    """List which results two runs do not share.

    Parameters
    ----------
    first, second : dict
        As `contents` gives them.

    Returns
    -------
    list of str
    """
    lines = [f"only in the first: {name}" for name in sorted(set(first) - set(second))]
    lines += [f"only in the second: {name}" for name in sorted(set(second) - set(first))]
    shared = sorted(set(first) & set(second))
    return lines + [f"differs: {name}" for name in shared if first[name] != second[name]]


def leftovers(out):
    """List files that were left half-written, outside the work folder."""
    paths = (path.relative_to(out) for path in out.rglob(".part-*"))
    return sorted(str(path) for path in paths if "work" not in path.parts)
