"""What FSL's topup takes, and what it found."""

from pathlib import Path

import numpy as np
from nipype.interfaces.base import File, SimpleInterface, TraitedSpec

from bids_sexclf.interfaces.distortion import Find, FindIn, OppositeIn, measure_agreement
from bids_sexclf.volumes import load, save


class _PairIn(OppositeIn):
    pass


class _PairOut(TraitedSpec):
    in_file = File(exists=True, desc="both volumes, of even size, with FSL's handedness")
    encoding_file = File(exists=True)


class PairForTopup(SimpleInterface):
    """Put two oppositely encoded b0 volumes into one file as FSL's topup takes it.

    Odd axes get one more slice, since the stock schedule halves the grid; the first axis is
    turned where the affine has a positive determinant, since FSL would turn it in memory and
    count the phase encoding from the other end.
    """

    input_spec, output_spec = _PairIn, _PairOut

    def _run_interface(self, runtime):
        from nibabel import Nifti1Image
        from nibabel.processing import resample_from_to

        given = self.inputs
        b0, affine = load(given.b0, ndim=3)
        other = Nifti1Image(*load(given.opposite, ndim=3))
        if other.shape != b0.shape or not np.allclose(other.affine, affine, atol=1e-3):
            other = resample_from_to(other, (b0.shape, affine), order=1)
        turned = np.linalg.det(affine[:3, :3]) > 0
        both = np.stack([b0, np.asarray(other.dataobj)], -1)
        both = np.nan_to_num(both[::-1] if turned else both).clip(0)
        both = np.pad(both, [(0, size % 2) for size in b0.shape] + [(0, 0)], mode="edge")
        self._results["in_file"] = str(Path(runtime.cwd, "pair.nii.gz"))
        save(both, _turned_affine(affine, b0.shape) if turned else affine, self._results["in_file"])
        # The second scan runs against the first along the first one's axis, whatever its own grid.
        times = [given.readout, -np.sign(given.readout) * abs(given.opposite_readout)]
        rows = []
        for time in times:
            vector = np.zeros(3)
            vector[given.axis] = np.sign(time) * (-1 if turned and given.axis == 0 else 1)
            rows.append(" ".join(f"{x:g}" for x in vector) + f" {abs(time):.6f}")
        path = Path(runtime.cwd, "encoding.txt")
        path.write_text("\n".join(rows) + "\n")
        self._results["encoding_file"] = str(path)
        return runtime


def _turned_affine(affine, shape):
    """Return the affine of an array whose first axis was reversed."""
    turn = np.diag([-1.0, 1.0, 1.0, 1.0])
    turn[0, 3] = shape[0] - 1
    return affine @ turn


class _ReadTopupIn(FindIn):
    field = File(exists=True, mandatory=True, desc="topup's field, Hz")
    pair = File(exists=True, mandatory=True, desc="what topup was given")
    corrected = File(exists=True, mandatory=True, desc="both volumes, unwarped by topup")


class ReadTopup(Find):
    """Bring topup's field back to the b0's grid, and to voxels."""

    input_spec = _ReadTopupIn

    def _run_interface(self, runtime):
        given = self.inputs
        b0, affine = load(given.b0, ndim=3)
        turned = np.linalg.det(affine[:3, :3]) > 0

        def back(array):
            inside = array[tuple(slice(n) for n in b0.shape)]
            return inside[::-1] if turned else inside

        shift = back(load(given.field, ndim=3)[0]) * given.readout
        raw, pair = (back(load(path, ndim=4)[0]) for path in (given.pair, given.corrected))
        raw, pair = ((both[..., 0], both[..., 1]) for both in (raw, pair))
        return self._finish(runtime, shift, affine, **measure_agreement("topup", raw, pair, affine))
