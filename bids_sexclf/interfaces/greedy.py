"""Greedy: deformable registration by local cross-correlation, with results in ANTs format.

Greedy works like SyN, but the cost of its metric does not grow with the window, and it is not
symmetric: it finds a better fit in a fraction of the time. Seed and recipe are always set, and
each voxel is computed by one thread, so results are reproducible.

References
----------
Yushkevich et al. 2016, Fast automatic segmentation of hippocampal subfields and medial temporal
lobe subregions in 3 tesla and 7 tesla T2-weighted MRI, doi:10.1016/j.jalz.2016.06.205.
"""

import io
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bids_sexclf.errors import ToolError
from bids_sexclf.interfaces.ants import antspyx, find_affine, to_matrix
from bids_sexclf.interfaces.fields import crop_to_brain, invert, sample_field, spread_field
from bids_sexclf.seeds import native_seed


@dataclass(frozen=True)
class Recipe:
    """Settings of a deformable registration.

    Attributes
    ----------
    iterations : str
        Per level, coarse to fine; the last level is the grid that is worked on.
    smoothing : str
        Of each update and of the whole field, standard deviations.
    stationary : bool
        Find a velocity whose flow is the deformation: it and its inverse are smooth, and fold
        nowhere.
    radius : int
        Of the window of the cross-correlation, voxels.
    voxel_size : float, optional
        Of the grid that is worked on, mm. The template's own by default.
    """

    iterations: str
    smoothing: str
    stationary: bool
    radius: int = 2
    voxel_size: float | None = None


RECIPES = {
    "accurate": Recipe("100x60x30x5", "1.732vox 0.85vox", stationary=False, voxel_size=1.0),
    "fast": Recipe("100x100x30", "1.732vox 0.85vox", stationary=False),
    "head": Recipe("100x50x10", "2vox 1vox", stationary=True),
    "sloppy": Recipe("30x10", "2vox 1vox", stationary=True, voxel_size=4.0),
}
"""``accurate`` and ``fast`` are for brains. ``head`` is for whole heads, and smoother, since skulls
and scalps do not correspond in detail. ``sloppy`` is for tests."""


def deform(fixed, moving, linear, prefix, *, recipe, mask=None, grid=None, seed, threads=1):
    """Estimate the deformation that remains after a linear transform.

    Greedy's own inverse would take longer than the registration, so it is computed here.

    Parameters
    ----------
    fixed, moving : path-like
    linear : path-like
        ANTs transform, carries images to the fixed one.
    prefix : str
        Of the files that are written.
    recipe : Recipe
    mask : path-like, optional
        On the grid of `fixed`; the rest of the image says nothing.
    grid : path-like, optional
        Image on whose points the fields are kept; `fixed` by default.
    seed : int
        Of the noise that keeps the metric defined where images are flat.
    threads : int

    Returns
    -------
    warp, inverse : str
        Displacement fields (mm, LPS+).

    Raises
    ------
    ToolError
        If Greedy writes none.
    """
    import ants
    import SimpleITK
    from picsl_greedy import Greedy3D

    images = {"fixed": fixed, "moving": moving} | ({"mask": mask} if mask else {})
    images = {name: SimpleITK.ReadImage(str(path)) for name, path in images.items()}
    tool = Greedy3D()
    # Greedy reads matrices from files only, and file names must not hold a space.
    with tempfile.TemporaryDirectory() as folder:
        np.savetxt(Path(folder, "linear.mat"), to_matrix(ants.read_transform(str(linear))))
        command = (
            f"-d 3 -i fixed moving -it {folder}/linear.mat {'-gm mask ' if mask else ''}"
            f"-m NCC {'x'.join([str(recipe.radius)] * 3)} -n {recipe.iterations} "
            f"-s {recipe.smoothing} {'-sv ' if recipe.stationary else ''}"
            f"-o warp -wp 0 -seed {native_seed(seed)} -threads {threads} -float -V 0"
        )
        try:
            quiet = {"out": io.StringIO(), "err": io.StringIO()}
            tool.execute(command, **quiet, **images, warp=None)
        except RuntimeError as fault:
            raise ToolError(
                f"Found that Greedy could not register: {' '.join(str(fault).split())[:300]} "
                "Needed two overlapping images of a head. Look at the scan and its orientation."
            ) from fault
    warp = sample_field(tool["warp"], SimpleITK.ReadImage(str(grid)) if grid else images["fixed"])
    paths = f"{prefix}Warp.nii.gz", f"{prefix}Inverse.nii.gz"
    for field, path in zip((warp, invert(warp, threads)), paths, strict=True):
        SimpleITK.WriteImage(SimpleITK.Cast(field, SimpleITK.sitkVectorFloat32), path)
    return paths


def compose(transforms, path):
    """Write transforms as one composite file for ANTs and ITK.

    Parameters
    ----------
    transforms : list of ants.ANTsTransform
        The one that meets points of the fixed image first comes first.
    path : path-like
        Ends in ``.h5``.

    Returns
    -------
    str
    """
    import ants

    ants.write_transform(ants.compose_ants_transforms(transforms), str(path))
    return str(path)


class _DeformIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="brain")
    fixed = File(exists=True, mandatory=True, desc="brain template")
    initial = File(desc="linear start; found first where there is none")
    recipe = traits.Enum(*RECIPES, usedefault=True)
    seed = traits.Int(1, usedefault=True)
    threads = traits.Int(1, usedefault=True)


class _DeformOut(TraitedSpec):
    forward = File(exists=True, desc="carries images to the template (composite, .h5)")
    inverse = File(exists=True, desc="carries images from the template (composite, .h5)")


class Deform(SimpleInterface):
    """Register a brain to a brain template: a linear transform, then a deformation by Greedy."""

    input_spec, output_spec = _DeformIn, _DeformOut

    def _run_interface(self, runtime):
        from nipype.interfaces.base import isdefined

        inputs, prefix = self.inputs, str(Path(runtime.cwd, "brain_"))
        ants = antspyx(inputs.seed)
        brains = self._prepare(ants, runtime.cwd)
        linear = inputs.initial
        if not isdefined(linear):
            grid_file = brains["grid"] if inputs.recipe == "sloppy" else inputs.fixed
            images = (ants.image_read(str(path)) for path in (grid_file, inputs.in_file))
            linear = find_affine(ants, *images, prefix)
        fields = deform(
            brains["fixed"],
            brains["moving"],
            linear,
            prefix,
            recipe=RECIPES[inputs.recipe],
            grid=brains["box"],
            seed=inputs.seed,
            threads=inputs.threads,
        )
        linear = ants.read_transform(str(linear))
        grid = ants.image_read(brains["grid"])
        warp, inverse = (spread_field(path, grid) for path in fields)
        self._results["forward"] = compose([warp, linear], f"{prefix}Composite.h5")
        self._results["inverse"] = compose(
            [linear.invert(), inverse], f"{prefix}InverseComposite.h5"
        )
        for path in fields:
            Path(path).unlink()  # large, and the composites hold them
        return runtime

    def _prepare(self, ants, folder):
        """Write the brains to register, and the grids of the fields; return their paths.

        ``grid`` is the template, or a coarser one where the recipe works on coarser voxels;
        ``box`` is the part of it around the brain, ``fixed`` the box at the recipe's voxel size.
        """
        size = RECIPES[self.inputs.recipe].voxel_size
        template = ants.image_read(str(self.inputs.fixed))
        coarse = size is not None and size > max(template.spacing)
        grid = at_voxel_size(template, size) if coarse else template
        box = crop_to_brain(grid)
        brains = {
            "grid": grid,
            "box": box,
            "fixed": box if size is None else at_voxel_size(box, size),
            "moving": crop_to_brain(ants.image_read(str(self.inputs.in_file))),
        }
        paths = {name: str(Path(folder, f"registered_{name}.nii.gz")) for name in brains}
        for name, image in brains.items():
            image.to_filename(paths[name])
        return paths


def at_voxel_size(image, size):
    """Resample an image to isotropic voxels of a size, unless it has them.

    Parameters
    ----------
    image : ants.ANTsImage
    size : float
        mm.

    Returns
    -------
    ants.ANTsImage
    """
    import ants

    if np.allclose(image.spacing, size, rtol=0.05):
        return image
    return ants.resample_image(image, (size,) * 3, use_voxels=False, interp_type=0)


def template_for(recipe, path, folder):
    """Return a template at the voxel size of a recipe.

    Parameters
    ----------
    recipe : str
        Of `RECIPES`.
    path : path-like
    folder : path-like
        Where a copy is written if one is needed.

    Returns
    -------
    str
    """
    import ants

    wanted, template = RECIPES[recipe].voxel_size, ants.image_read(str(path))
    if wanted is None or np.allclose(template.spacing, wanted, rtol=0.05):
        return str(path)
    target = str(Path(folder, f"resampled_{Path(path).name}"))
    at_voxel_size(template, wanted).to_filename(target)
    return target


def describe(recipe):
    """Describe the deformable registration, for sidecars.

    Parameters
    ----------
    recipe : str
        Of `RECIPES`.

    Returns
    -------
    dict
    """
    numbers = {
        "".join(part.capitalize() for part in name.split("_")): value
        for name, value in asdict(RECIPES[recipe]).items()
        if value is not None
    }
    software = "ANTs (linear), Greedy (deformation)"
    return {"Software": software, "Metric": "cross-correlation"} | numbers
