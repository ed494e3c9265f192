"""Find templates and weights in TemplateFlow, $FSLDIR, nilearn, or a folder, without download.

Only the command ``python -m bids_sexclf.resources NAME`` downloads.
"""

import os
import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from bids_sexclf.errors import ToolError
from bids_sexclf.volumes import Grid, load, resample, rescale_grid


@dataclass(frozen=True)
class Template:
    """The files of one template space.

    Attributes
    ----------
    name : str
    head, brain, mask : pathlib.Path
        T1w with skull, the brain alone, and the brain mask; each in the template's space.
    folder : pathlib.Path
    """

    name: str
    head: Path
    brain: Path
    mask: Path
    folder: Path


def find_template(name, templates_dir=None):
    """Find a template's files, without downloading.

    Parameters
    ----------
    name : str
        TemplateFlow name, e.g. ``"MNI152NLin6Asym"``.
    templates_dir : path-like, optional
        A folder laid out like a TemplateFlow home. TemplateFlow's own by default.

    Returns
    -------
    Template
        The available resolution of the whole head that is closest to 2 mm.

    Raises
    ------
    ToolError
        If a file is missing; the message describes how to get it.
    """
    folder = _folder(name, templates_dir)
    kinds = {"head": "_T1w", "brain": "_desc-brain_T1w", "mask": "_desc-brain_mask"}
    files = {kind: _closest(folder, name, tail) for kind, tail in kinds.items()}
    missing = [f"tpl-{name}_res-*{kinds[kind]}.nii.gz" for kind, path in files.items() if not path]
    if missing:
        raise ToolError(
            f"Found no {', '.join(missing)} in {folder}, needed the head, the brain and the brain "
            f"mask of template {name}. Get them once, with a network, by "
            f"'python -m bids_sexclf.resources {name}' (TEMPLATEFLOW_HOME names the folder), or "
            "give a folder that holds them with --templates-dir."
        )
    return Template(name, folder=folder, **files)


WEIGHTS = {
    "data/models/bbox_model.pt": (
        "39a7b2b5f799faa1391ea97bfcdc0b9299f20d84f2316a4ff8918dc4685e40aa"
    ),
    "data/models/model.pt": "de8ee7c69654d0dd3935dc4a5d84571d8ecf4637a6bfc01df399c4c2bc86e0fd",
}
"""Weights of the networks that extract brains, inside the installed package deepbet (MIT licence),
and their SHA-256 sums."""


@cache
def find_weights():
    """Find the weights of the networks that extract brains.

    Returns
    -------
    tuple of pathlib.Path
        In the order of `WEIGHTS`: for the box around the brain, and for its mask.

    Raises
    ------
    ToolError
        If the package is not installed, or a file is missing or not the expected one.
    """
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        installed = distribution("deepbet")
    except PackageNotFoundError:
        raise ToolError(
            "Found no Python package deepbet, needed the weights that it holds to extract brains. "
            f"Install it with 'pip install deepbet=={DEEPBET}'."
        ) from None
    places = [Path(installed.locate_file(name)) for name in WEIGHTS]
    for path, expected in zip(places, WEIGHTS.values(), strict=True):
        content = path.read_bytes() if path.is_file() else b""
        if sha256(content).hexdigest() != expected:
            raise ToolError(
                f"Found {path} with {len(content)} bytes, needed the weights of deepbet {DEEPBET} "
                f"(SHA-256 {expected[:12]}...). Install them again with 'pip install "
                f"--force-reinstall --no-deps deepbet=={DEEPBET}'."
            )
    return tuple(places)


DEEPBET = "1.0.2"
"""The release whose weights are known."""

FMRIB58 = Path("data", "standard", "FMRIB58_FA_1mm.nii.gz")
"""FSL's mean FA of 58 people, under $FSLDIR; in MNI152NLin6Asym space."""


def find_fa_template(template_name, fa_template=None):
    """Find an FA template in a template's space.

    Parameters
    ----------
    template_name : str
        TemplateFlow name.
    fa_template : path-like, optional
        An image of one's own.

    Returns
    -------
    pathlib.Path or None
        None if no file is given and FSL's template is missing, or lies in another space.

    Raises
    ------
    ToolError
        If the given file does not exist.
    """
    if fa_template is not None:
        if not Path(fa_template).is_file():
            raise ToolError(
                f"Found no FA template {fa_template}, needed an image of FA in the space of "
                f"{template_name}. Correct --fa-template."
            )
        return Path(fa_template).resolve()
    default = Path(os.environ.get("FSLDIR", ""), FMRIB58)
    if template_name != "MNI152NLin6Asym" or not os.environ.get("FSLDIR") or not default.is_file():
        return None
    return default.resolve()


def _folder(name, templates_dir):
    """Return the absolute folder of a template, since each step runs in its own folder."""
    home = (Path(templates_dir) if templates_dir else templateflow_home()).resolve()
    return home if home.name == f"tpl-{name}" else home / f"tpl-{name}"


def templateflow_home():
    """Return the folder of TemplateFlow's files, which need not exist."""
    fallback = Path.home() / ".cache" / "templateflow"
    return Path(os.environ.get("TEMPLATEFLOW_HOME", fallback))


def _closest(folder, name, tail, voxel_size=2.0):
    """Choose the file whose voxel size is closest to the requested one."""
    pattern = re.compile(rf"tpl-{name}(_res-[a-zA-Z0-9]+)?{tail}\.nii(\.gz)?")
    candidates = [
        path
        for path in sorted(folder.glob(f"tpl-{name}*{tail}.nii*"))
        # TemplateFlow keeps empty files as placeholders for files not yet fetched.
        if pattern.fullmatch(path.name) and path.stat().st_size
    ]
    return min(candidates, key=lambda path: abs(_voxel_size(path) - voxel_size), default=None)


@cache
def _voxel_size(path):
    import nibabel as nib

    return float(nib.load(path).header.get_zooms()[0])


def group_grid(template, voxel_size):
    """Return the group grid, to which maps are resampled.

    Parameters
    ----------
    template : Template
    voxel_size : float
        Edge, mm. Where the template has this size, its own grid is given.

    Returns
    -------
    volumes.Grid
    """
    import nibabel as nib

    image = nib.load(_closest(template.folder, template.name, "_desc-brain_mask", voxel_size))
    return rescale_grid(Grid(image.shape[:3], image.affine), voxel_size)


def white_matter(template_name, grid, templates_dir=None):
    """Return the white matter mask of a template on a grid.

    Parameters
    ----------
    template_name : str
    grid : volumes.Grid
    templates_dir : path-like, optional

    Returns
    -------
    ndarray of bool, shape grid.shape
        From the probability map of the template, or for MNI152 spaces from that of nilearn.

    Raises
    ------
    ToolError
        If neither exists.
    """
    white = tissue_share("WM", template_name, grid, templates_dir)
    if white is None:
        raise ToolError(
            f"Found no white-matter map of template {template_name}, needed "
            f"tpl-{template_name}_res-*_label-WM_probseg.nii.gz to know the mean white matter. "
            "Put one there, or use an MNI152 template."
        )
    return white > 0.8


def tissue_share(label, template_name, grid, templates_dir=None):
    """Return the share of a tissue in each voxel of a template, on a grid.

    Parameters
    ----------
    label : {"GM", "WM"}
    template_name : str
    grid : volumes.Grid
    templates_dir : path-like, optional

    Returns
    -------
    ndarray of float32, shape grid.shape, or None
        In [0, 1]. From the probability map of the template, or for MNI152 spaces from that of
        nilearn [1]_; None where neither exists.

    References
    ----------
    .. [1] Fonov et al. (2011), NeuroImage 54:313-327. doi:10.1016/j.neuroimage.2010.07.033
    """
    path = _closest(_folder(template_name, templates_dir), template_name, f"_label-{label}_probseg")
    if path:
        array, affine = load(path, ndim=3)
    elif template_name.startswith("MNI152"):
        from nilearn import datasets

        kind = {"GM": datasets.load_mni152_gm_template, "WM": datasets.load_mni152_wm_template}
        image = kind[label](resolution=2)
        array, affine = np.asarray(image.dataobj, dtype=np.float32), image.affine
    else:
        return None
    # Some maps are in percent, some in bytes.
    return np.clip(resample(array, affine, grid) / max(float(array.max()), 1e-6), 0, 1)


def fetch(name):
    """Download a template through TemplateFlow: the only function that uses the network.

    Parameters
    ----------
    name : str

    Returns
    -------
    Template
    """
    from templateflow import api

    for query in (
        {"desc": None, "suffix": "T1w"},
        {"desc": "brain", "suffix": "T1w"},
        {"desc": "brain", "suffix": "mask"},
    ):
        api.get(name, resolution=[1, 2], extension=".nii.gz", **query)
    return find_template(name)


if __name__ == "__main__":
    import sys

    for template in sys.argv[1:] or ["MNI152NLin6Asym"]:
        fetch(template)
