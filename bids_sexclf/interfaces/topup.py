"""Write the input of FSL's topup, and read its result."""

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
    """Write two oppositely encoded b0 volumes into one file for FSL's topup.

    Odd axes get one more slice, since the stock schedule halves the grid; the first axis is
    turned where the affine has a positive determinant, since FSL would turn it in memory and
    count the phase encoding from the other end.
    """

    input_spec, output_spec = _PairIn, _PairOut

    def _run_interface(self, runtime):
        from nibabel import Nifti1Image
        from nibabel.processing import resample_from_to

        inputs = self.inputs
        b0, affine = load(inputs.b0, ndim=3)
        opposite = Nifti1Image(*load(inputs.opposite, ndim=3))
        if opposite.shape != b0.shape or not np.allclose(opposite.affine, affine, atol=1e-3):
            opposite = resample_from_to(opposite, (b0.shape, affine), order=1)
        turned = np.linalg.det(affine[:3, :3]) > 0
        volumes = np.stack([b0, np.asarray(opposite.dataobj)], -1)
        volumes = np.nan_to_num(volumes[::-1] if turned else volumes).clip(0)
        volumes = np.pad(volumes, [(0, size % 2) for size in b0.shape] + [(0, 0)], mode="edge")
        self._results["in_file"] = str(Path(runtime.cwd, "pair.nii.gz"))
        save(
            volumes,
            _turned_affine(affine, b0.shape) if turned else affine,
            self._results["in_file"],
        )
        # The second scan is encoded against the first, along the first one's axis.
        times = [inputs.readout, -np.sign(inputs.readout) * abs(inputs.opposite_readout)]
        rows = []
        for time in times:
            vector = np.zeros(3)
            vector[inputs.axis] = np.sign(time) * (-1 if turned and inputs.axis == 0 else 1)
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
    """Convert the field of topup to a shift in voxels on the grid of the b0."""

    input_spec = _ReadTopupIn

    def _run_interface(self, runtime):
        inputs = self.inputs
        b0, affine = load(inputs.b0, ndim=3)
        turned = np.linalg.det(affine[:3, :3]) > 0

        def back(array):
            inside = array[tuple(slice(n) for n in b0.shape)]
            return inside[::-1] if turned else inside

        shift = back(load(inputs.field, ndim=3)[0]) * inputs.readout
        raw, pair = (back(load(path, ndim=4)[0]) for path in (inputs.pair, inputs.corrected))
        raw, pair = ((volumes[..., 0], volumes[..., 1]) for volumes in (raw, pair))
        return self._finish(runtime, shift, affine, **measure_agreement("topup", raw, pair, affine))
