"""Thermal noise and Gibbs ringing of a diffusion series."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bids_sexclf.diffusion.scheme import B0_THRESHOLD, find_b0, read_bvals
from bids_sexclf.execute import pool
from bids_sexclf.volumes import (
    load_series,
    make_series,
    open_series,
    save,
    series_writer,
    volumes,
)


class _StepOut(TraitedSpec):
    out_file = File(exists=True)
    residual = File(exists=True, desc="root mean square over volumes of what was taken away")
    record = File(exists=True, desc="JSON: what was done, and why")


class _DenoiseIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True)
    bval = File(exists=True, mandatory=True)
    bvec = File(exists=True, mandatory=True)
    method = traits.Enum("mppca", "patch2self", usedefault=True)
    b0_threshold = traits.Float(B0_THRESHOLD, usedefault=True, desc="s/mm²")
    seed = traits.Int(1, usedefault=True)
    threads = traits.Int(1, usedefault=True)


class Denoise(SimpleInterface):
    """Remove thermal noise, or pass the series on unchanged with the reason.

    References
    ----------
    Veraart et al. 2016, doi:10.1016/j.neuroimage.2016.08.016.
    Fadnavis et al. 2020, arXiv:2011.01355 (Patch2Self).
    """

    input_spec, output_spec = _DenoiseIn, _StepOut

    def _run_interface(self, runtime):
        from bids_sexclf.denoise import unfit

        image = open_series(self.inputs.in_file)
        shape, affine = image.shape, image.affine
        path = str(Path(runtime.cwd, "denoised.nii"))
        reason = unfit(shape)
        out = make_series(path, shape, affine)
        if reason:
            record = {"denoise": {"method": "none", "reason": reason}}
            for index, volume in enumerate(volumes(self.inputs.in_file)):
                out[..., index] = volume
            residual = np.zeros(shape[:3], np.float32)
        else:
            residual, numbers = self._denoise(out)
            record = {"denoise": {"method": self.inputs.method}} | numbers
        out.flush()
        self._results |= _finish(runtime.cwd, path, residual, affine, record)
        return runtime

    def _denoise(self, out):
        """Denoise into `out`; return the residual and the noise numbers."""
        from bids_sexclf.anatomy.brain import b0_mask
        from bids_sexclf.denoise import mppca, root_mean_square

        series = load_series(self.inputs.in_file)
        bvals = read_bvals(self.inputs.bval)
        affine = open_series(self.inputs.in_file).affine
        low = find_b0(bvals, self.inputs.b0_threshold)
        mask = b0_mask(series[..., low].mean(-1), np.linalg.norm(affine[:3, :3], axis=0))
        if self.inputs.method == "patch2self":
            out[:] = _patch2self(series, np.where(low, 0.0, bvals), self.inputs.seed)
        else:
            with ThreadPoolExecutor(self.inputs.threads) as executor:
                run = executor.map if self.inputs.threads > 1 else map
                _, sigma = mppca(
                    series, series.any(-1), out=out, run=run, at_once=2 * self.inputs.threads
                )
        count = series.shape[3]
        residual = root_mean_square((series[..., i], out[..., i]) for i in range(count))
        # Patch2Self returns no noise level: its residual is used instead.
        level = sigma if self.inputs.method == "mppca" else residual
        sd = float(np.median(level[mask]))
        signal = float(np.median(series[..., low].mean(-1)[mask]))
        return residual, {"noise_sd": sd, "b0_snr": signal / sd if sd > 0 else None}


def _patch2self(series, bvals, seed):
    """Denoise by dipy's Patch2Self, with a seed for its random sketches."""
    from dipy.denoise.patch2self import patch2self

    state = np.random.get_state()
    np.random.seed(seed % 2**32)
    try:
        return patch2self(
            series, bvals, model="ols", shift_intensity=False, clip_negative_vals=True
        )
    finally:
        np.random.set_state(state)


class _DegibbsIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True)
    engine = traits.Enum("native", "dipy", usedefault=True)
    slice_axis = traits.Range(0, 2, 2, usedefault=True, desc="axis along which slices lie")
    partial_fourier = traits.Float(1.0, usedefault=True, desc="share of k-space acquired")
    threads = traits.Int(1, usedefault=True)


class Degibbs(SimpleInterface):
    """Suppress Gibbs ringing inside each slice by local subvoxel shifts.

    References
    ----------
    Kellner et al. 2016, doi:10.1002/mrm.26054.
    """

    input_spec, output_spec = _DegibbsIn, _StepOut

    def _run_interface(self, runtime):
        from bids_sexclf.denoise import root_mean_square

        image = open_series(self.inputs.in_file)
        path = str(Path(runtime.cwd, "unrung.nii"))
        axis, engine, threads = (
            getattr(self.inputs, name) for name in ("slice_axis", "engine", "threads")
        )
        # Our own code releases the interpreter lock, dipy's does not.
        workers = ThreadPoolExecutor if engine == "native" else pool
        with (
            series_writer(path, image.shape, image.affine) as write,
            workers(threads) as executor,
        ):
            series = volumes(self.inputs.in_file)
            unring = partial(_UNRING[engine], axis=axis)
            residual = root_mean_square(_each(series, unring, executor, threads, write))
        record = {"method": engine, "slice_axis": "ijk"[axis]}
        if self.inputs.partial_fourier < 0.99:
            record["caveat"] = (
                f"partial Fourier {self.inputs.partial_fourier:g}: ringing along the "
                "phase-encoding axis is suppressed in part only"
            )
        self._results |= _finish(runtime.cwd, path, residual, image.affine, {"gibbs": record})
        return runtime


def _each(series, unring, executor, threads, write):
    """Unring volumes in parallel, write them in order, and yield each with the original one."""
    while batch := list(islice(series, 2 * threads)):
        futures = [executor.submit(unring, volume) for volume in batch]
        for volume, future in zip(batch, futures, strict=True):
            clean = future.result()
            write(clean)
            yield volume, clean


def _unring(volume, axis):
    from bids_sexclf.denoise import unring

    return np.moveaxis(unring(np.moveaxis(volume, axis, 0)), 0, axis)


def _unring_by_dipy(volume, axis):
    from dipy.denoise.gibbs import gibbs_removal

    return gibbs_removal(volume, slice_axis=axis, inplace=False).astype(np.float32)


_UNRING = {"native": _unring, "dipy": _unring_by_dipy}


def _finish(folder, path, residual, affine, record):
    """Write residual and record; return a step's outputs."""
    results = {"out_file": path, "residual": str(Path(folder, "residual.nii.gz"))}
    save(residual, affine, results["residual"])
    results["record"] = str(Path(folder, "record.json"))
    Path(results["record"]).write_text(json.dumps(record, indent=2))
    return results
