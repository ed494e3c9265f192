"""Greedy: deformable registration by local cross-correlation, its result as ANTs reads it.

Greedy follows the idea of SyN with a metric whose cost does not grow with its window, and without
the symmetric half: it finds a better fit in a fraction of the time. Seed and recipe are always
given; each voxel is computed by one thread from the same numbers, so results repeat.

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


@dataclass(frozen=True)
class Recipe:
    """How a deformation is found.

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
    "accurate": Recipe("100x100x50x8", "1.732vox 0.85vox", stationary=False, voxel_size=1.0),
    "fast": Recipe("100x100x30", "1.732vox 0.85vox", stationary=False),
    "head": Recipe("100x50x10", "2vox 1vox", stationary=True),
    "sloppy": Recipe("30x10", "2vox 1vox", stationary=True, voxel_size=4.0),
}
"""``accurate`` and ``fast`` are for brains. ``head`` is for whole heads, and smoother, since skulls
and what lies around them do not correspond in all detail. ``sloppy`` is for tests."""


def deform(fixed, moving, linear, prefix, *, recipe, mask=None, seed=1, threads=1):
    """Find the deformation that is left after a linear transform.

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
    seed : int
        Of the noise that keeps the metric defined where images are flat.
    threads : int

    Returns
    -------
    warp, inverse : str
        Displacement fields (mm, LPS+), on the grid of `fixed`.

    Raises
    ------
    ToolError
        If Greedy gives none.
    """
    import ants
    import SimpleITK
    from picsl_greedy import Greedy3D

    images = {"fixed": fixed, "moving": moving} | ({"mask": mask} if mask else {})
    given = {name: SimpleITK.ReadImage(str(path)) for name, path in images.items()}
    tool, names = Greedy3D(), {"warp": f"{prefix}Warp.nii.gz", "inverse": f"{prefix}Inverse.nii.gz"}
    # Matrices pass as files only, and no name in a command may hold a space.
    with tempfile.TemporaryDirectory() as folder:
        np.savetxt(Path(folder, "linear.mat"), to_matrix(ants.read_transform(str(linear))))
        command = (
            f"-d 3 -i fixed moving -it {folder}/linear.mat {'-gm mask ' if mask else ''}"
            f"-m NCC {'x'.join([str(recipe.radius)] * 3)} -n {recipe.iterations} "
            f"-s {recipe.smoothing} {'-sv ' if recipe.stationary else ''}"
            f"-o warp -oinv inverse -wp 0 -seed {int(seed) or 1} -threads {threads} -V 0"
        )
        try:
            quiet = {"out": io.StringIO(), "err": io.StringIO()}
            tool.execute(command, **quiet, **given, **dict.fromkeys(names))
        except RuntimeError as fault:
            raise ToolError(
                f"Found that Greedy could not register: {' '.join(str(fault).split())[:300]} "
                "Needed two overlapping images of a head. Look at the scan and its orientation."
            ) from fault
    for name, path in names.items():
        field = SimpleITK.Cast(tool[name], SimpleITK.sitkVectorFloat32)
        SimpleITK.WriteImage(field, path)
    return names["warp"], names["inverse"]


def compose(transforms, path):
    """Write transforms as one composite that ANTs and ITK read.

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
    """Register a brain to a brain template: a linear transform, then what Greedy finds."""

    input_spec, output_spec = _DeformIn, _DeformOut

    def _run_interface(self, runtime):
        from nipype.interfaces.base import isdefined

        given, prefix = self.inputs, str(Path(runtime.cwd, "brain_"))
        ants = antspyx(given.seed)
        fixed, linear = template_for(given.recipe, given.fixed, runtime.cwd), given.initial
        if not isdefined(linear):
            where = fixed if given.recipe == "sloppy" else given.fixed
            images = (ants.image_read(str(path)) for path in (where, given.in_file))
            linear = find_affine(ants, *images, prefix)
        fields = deform(
            fixed,
            given.in_file,
            linear,
            prefix,
            recipe=RECIPES[given.recipe],
            seed=given.seed,
            threads=given.threads,
        )
        linear = ants.read_transform(str(linear))
        warp, inverse = (read_field(path, given.fixed) for path in fields)
        self._results["forward"] = compose([warp, linear], f"{prefix}Composite.h5")
        self._results["inverse"] = compose(
            [linear.invert(), inverse], f"{prefix}InverseComposite.h5"
        )
        for path in fields:
            Path(path).unlink()  # large, and the composites hold them
        return runtime


def read_field(path, grid):
    """Read a displacement field as a transform, on no finer grid than the template's.

    Parameters
    ----------
    path : path-like
        Displacements, mm (LPS+).
    grid : path-like
        The template. Of a field that is finer, which is smooth, the values at the template's voxels
        are kept.

    Returns
    -------
    ants.ANTsTransform
    """
    import ants

    field, grid = ants.image_read(str(path)), ants.image_read(str(grid))
    if min(field.spacing) < 0.99 * min(grid.spacing):
        parts = [
            ants.resample_image_to_target(part, grid, "linear")
            for part in ants.split_channels(field)
        ]
        field = ants.merge_channels(parts)
    return ants.transform_from_displacement_field(field)


def template_for(recipe, path, folder):
    """Give a template at the voxel size that a recipe works on.

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
    ants.resample_image(template, (wanted,) * 3, use_voxels=False, interp_type=0).to_filename(
        target
    )
    return target


def describe(recipe):
    """Say how deformations are found, for sidecars.

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
