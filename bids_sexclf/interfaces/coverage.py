"""Mark the voxels that a scan has measured, so that other zeros count as unknown."""

from pathlib import Path

import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, TraitedSpec

from bids_sexclf.volumes import load, save


class _MarkIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="scan, or mean b0 volume")


class _MarkOut(TraitedSpec):
    out_file = File(exists=True, desc="1 where the scan has measured, on its own grid")


class MarkMeasured(SimpleInterface):
    """Write a mask of the slices of a scan that hold a signal."""

    input_spec, output_spec = _MarkIn, _MarkOut

    def _run_interface(self, runtime):
        array, affine = load(self.inputs.in_file, ndim=3)
        self._results["out_file"] = str(Path(runtime.cwd, "measured.nii.gz"))
        save(find_measured(array), affine, self._results["out_file"])
        return runtime


def find_measured(array):
    """Find the voxels that a scan has measured.

    Slices without any signal, along any axis, are padding: they lie at the ends of a field of view
    that was padded, cropped or moved. Empty voxels in other slices were measured, or lie around an
    extracted brain.

    Parameters
    ----------
    array : ndarray, shape (X, Y, Z)

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)

    Examples
    --------
    >>> array = np.zeros((2, 2, 3))
    >>> array[:, :, 1] = 5
    >>> find_measured(array)[0, 0].tolist()
    [False, True, False]
    """
    signal = np.isfinite(array) & (array != 0)
    full = [signal.any(axis=other_axes) for other_axes in ((1, 2), (0, 2), (0, 1))]
    return full[0][:, None, None] & full[1][None, :, None] & full[2][None, None, :]


def share_covered(covered, mask):
    """Return the share of a mask that was measured.

    Parameters
    ----------
    covered, mask : ndarray of bool, shape (X, Y, Z)

    Returns
    -------
    float
        From 0 to 1.
    """
    return float((covered & mask).sum() / mask.sum())
