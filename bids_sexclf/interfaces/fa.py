"""Register FA to an FA template with ANTs."""

from pathlib import Path

import numpy as np
from nipype.interfaces.base import SimpleInterface, traits

from bids_sexclf.interfaces.ants import (
    _NormalizeIn,
    _NormalizeOut,
    _register,
    antspyx,
    to_ants,
)
from bids_sexclf.volumes import Grid, load, resample, rescale_grid

WORKING = 2.0
"""Voxel size, mm, of the template for the registration: diffusion scans are not finer, and 1 mm
takes eight times as long."""


class _FaIn(_NormalizeIn):
    metric = traits.Enum("CC", "mattes", usedefault=True)


class NormalizeFa(SimpleInterface):
    """Register an FA map to an FA template: linear, then SyN with local cross-correlation.

    The outer rim of the map is left out of the registration, but resampled with the rest.

    References
    ----------
    Avants et al. 2008, doi:10.1016/j.media.2007.06.004. Smith et al. 2006,
    doi:10.1016/j.neuroimage.2006.02.024.
    """

    input_spec, output_spec = _FaIn, _NormalizeOut

    def _run_interface(self, runtime):
        from bids_sexclf.anatomy.brain import trim_rim

        ants = antspyx(self.inputs.seed)
        fa, affine = load(self.inputs.in_file, ndim=3)
        # Some templates store FA times 10,000; both images must have one scale.
        moving = to_ants(trim_rim(np.clip(fa, 0, 1)), affine)
        fixed = to_ants(
            *_working_template(self.inputs.fixed, 4.0 if self.inputs.sloppy else WORKING)
        )
        prefix = str(Path(runtime.cwd, "fa_"))
        # Global correlation, as both are FA: mutual information settles for less here. The head is
        # turned before it is stretched, or a tilted one could be sheared into place.
        metric, start = {"aff_metric": "GC"}, {}
        for kind in ("Rigid", "Affine"):
            registration = _register(
                ants, fixed, moving, kind, f"{prefix}{kind}_", **metric, **start
            )
            start = {"initial_transform": registration["fwdtransforms"][0]}
        _register(
            ants,
            fixed,
            moving,
            "SyNOnly",
            prefix,
            **start,
            syn_metric=self.inputs.metric,
            syn_sampling=32 if self.inputs.metric == "mattes" else 2,
            reg_iterations=(20, 10, 0) if self.inputs.sloppy else (40, 20, 0),
            write_composite_transform=True,
        )
        self._results["forward"] = prefix + "Composite.h5"
        self._results["inverse"] = prefix + "InverseComposite.h5"
        return runtime


def _working_template(path, voxel_size):
    """Read an FA template scaled to [0, 1], at the given voxel size or coarser."""
    fa, affine = load(path, ndim=3)
    grid = Grid(fa.shape, affine)
    if grid.voxel_size.min() < voxel_size - 1e-3:
        grid = rescale_grid(grid, voxel_size)
        fa = resample(fa, affine, grid)
    return fa / (1e4 if fa.max() > 2 else 1), grid.affine
