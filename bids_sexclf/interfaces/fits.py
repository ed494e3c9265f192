"""Diffusion maps: the fits of tensor, kurtosis and NODDI as one node."""

import json
from pathlib import Path

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    OutputMultiObject,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bids_sexclf.diffusion.scheme import B0_THRESHOLD, read_gradients
from bids_sexclf.errors import InputError
from bids_sexclf.interfaces.fsl import NIFTI, _call
from bids_sexclf.volumes import load, open_slabs, save, save_volumes


class _FitIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="prepared diffusion series")
    bval = File(exists=True, mandatory=True)
    bvec = File(exists=True, mandatory=True)
    mask = File(exists=True, mandatory=True)
    models = traits.List(
        traits.Enum("tensor", "kurtosis", "noddi"),
        ["tensor", "kurtosis"],
        usedefault=True,
        desc="those that the shells do not allow are left out",
    )
    engine = traits.Enum("native", "dipy", "fsl", usedefault=True)
    b0_threshold = traits.Float(B0_THRESHOLD, usedefault=True, desc="s/mm²")
    clip = traits.Tuple(traits.Float, traits.Float, desc="range of kurtosis values")
    num_threads = traits.Int(1, usedefault=True, nohash=True)


class _FitOut(TraitedSpec):
    out_files = OutputMultiObject(File(exists=True), desc="one map each, named by its parameter")
    counts = File(exists=True, desc="JSON: what the fits had to repair, or why there is none")
    colours = File(exists=True, desc="red, green, blue: direction of diffusion, bright by FA")


class FitMaps(SimpleInterface):
    """Fit the requested models where the shells allow them, one slab of the series at a time."""

    input_spec, output_spec = _FitIn, _FitOut

    def _run_interface(self, runtime):
        from bids_sexclf.diffusion import count_impossible
        from bids_sexclf.diffusion.families import FAMILIES, engine_of, why_not

        inputs = self.inputs
        bvals, bvecs = read_gradients(inputs.bval, inputs.bvec)
        mask = load(inputs.mask, ndim=3)[0] > 0
        files, counts = [], {}
        with open_slabs(inputs.in_file, runtime.cwd) as (series, affine):
            for name in inputs.models:
                family, engine = FAMILIES[name], engine_of(name, inputs.engine)
                reason = why_not(name, bvals, bvecs, inputs.b0_threshold)
                if reason is not None and name == "tensor":
                    raise InputError(reason)
                if reason is not None:
                    counts[family.label] = {"left_out": reason}
                    continue
                if engine == "fsl":
                    maps = fit_with_fsl(
                        series, affine, bvals, bvecs, mask, runtime.cwd, inputs.b0_threshold
                    )
                    counts[family.label] = {}
                else:
                    clip = dict(zip(("min_kurtosis", "max_kurtosis"), inputs.clip, strict=True))
                    options = {"kurtosis": clip, "tensor": {"directions": True}}.get(name, {})
                    maps = family.fits[engine](
                        series,
                        bvals,
                        bvecs,
                        mask,
                        counts=True,
                        b0_threshold=inputs.b0_threshold,
                        n_threads=inputs.num_threads,
                        **options,
                    )
                    counts[family.label] = count_impossible(maps)
                for key in family.records:
                    files.append(str(Path(runtime.cwd, f"{family.label}_{key}.nii.gz")))
                    save(maps[key], affine, files[-1])
                if "V1" in maps:
                    self._save_colours(maps, affine, runtime.cwd)
        self._results["out_files"] = files
        self._results["counts"] = str(Path(runtime.cwd, "counts.json"))
        Path(self._results["counts"]).write_text(json.dumps(counts))
        return runtime

    def _save_colours(self, maps, affine, folder):
        """Save the colours of the principal direction, one byte per channel."""
        from bids_sexclf.diffusion.colours import colour_directions

        self._results["colours"] = str(Path(folder, "colours.nii.gz"))
        colours = colour_directions(maps["V1"], maps["FA"], affine)
        save(colours, affine, self._results["colours"])


def fit_with_fsl(series, affine, bvals, bvecs, mask, folder, b0_threshold=B0_THRESHOLD):
    """Fit the tensor with FSL's ``dtifit``, to the volumes that the native fit would use.

    Parameters
    ----------
    series : sliceable, shape (X, Y, Z, N)
    affine : ndarray, shape (4, 4)
    bvals : ndarray, shape (N,)
        s/mm².
    bvecs : ndarray, shape (N, 3)
    mask : ndarray of bool, shape (X, Y, Z)
    folder : path-like
        Where files may lie.
    b0_threshold : float
        s/mm².

    Returns
    -------
    dict of ndarray, shape (X, Y, Z)
        FA MD AD RD S0; and V1 of shape (X, Y, Z, 3).

    Raises
    ------
    ToolError
        If ``dtifit`` is not on the PATH, or fails.
    """
    from nipype.interfaces import fsl

    from bids_sexclf.diffusion.tensor import volumes_for_tensor

    chosen = volumes_for_tensor(bvals, bvecs, b0_threshold)
    path = {name: str(Path(folder, f"dtifit_in_{name}")) for name in ("bvals", "bvecs")}
    path |= {name: str(Path(folder, f"dtifit_in_{name}.nii")) for name in ("dwi", "mask")}
    np.savetxt(path["bvals"], bvals[None, chosen], fmt="%g")
    np.savetxt(path["bvecs"], bvecs[chosen].T, fmt="%.6f")
    save_volumes((series[..., int(i)] for i in chosen), len(chosen), affine, path["dwi"])
    save(mask, affine, path["mask"])
    outputs = _call(fsl.DTIFit(base_name="dtifit", args="--wls", **path, **NIFTI), folder)
    parts = ("FA", "MD", "L1", "L2", "L3", "S0")
    read = {name: load(getattr(outputs, name), ndim=3)[0] for name in parts}
    read["V1"] = load(outputs.V1, ndim=4)[0]
    for file in path.values():
        Path(file).unlink()
    return {
        "FA": np.clip(read["FA"], 0, 1),
        "MD": read["MD"],
        "AD": read["L1"],
        "RD": (read["L2"] + read["L3"]) / 2,
        "S0": read["S0"],
        "V1": read["V1"],
    }
