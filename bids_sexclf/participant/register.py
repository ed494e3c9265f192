"""Bring diffusion maps onto the group grid in one interpolation, by one of three routes.

``t1w`` goes through the participant's T1w, ``fa`` registers FA to an FA template, ``b0`` registers
the mean b=0 volume to the template's brain.
"""

import os

from nipype.interfaces.utility import IdentityInterface, Merge
from nipype.pipeline.engine import Node, Workflow

from bids_sexclf.errors import ToolError
from bids_sexclf.interfaces.ants import AlignRigid, Carry, Normalize
from bids_sexclf.interfaces.fa import NormalizeFa
from bids_sexclf.interfaces.fsl import NormalizeFsl, check_fsl
from bids_sexclf.resources import find_fa_template

METHODS = {
    "t1w": (
        "The mean b=0 volume was aligned rigidly with the T1w by the border of white matter "
        "[@greve2009], or by mutual information where it does not show it; this and the T1w's "
        "registration were applied to the maps together, in one linear interpolation."
    ),
    "fa": (
        "FA, its outermost voxels left out [@smith2006], was registered to an FA template by "
        "{how}; all maps were resampled once, by linear interpolation."
    ),
    "b0": (
        "Where no T1w exists, the mean b=0 volume was registered to the template's brain directly "
        "(affine and SyN, mutual information), and the maps resampled once."
    ),
    "aligned": (
        "Diffusion data lie in the space of the T1w already; the maps were resampled once, through "
        "the T1w's registration."
    ),
    "grid": (
        "The maps came in the space of the {template} template and were resampled to {resolution} "
        "mm voxels by linear interpolation, beside the interpolation that made them."
    ),
}
ROUTES = ("t1w", "fa", "b0", "aligned", "grid")
FA_ENGINES = {
    "ants": "affine and SyN, cross-correlation [@avants2008]",
    "fsl": "FLIRT [@jenkinson2002] and FNIRT [@andersson2007]",
}


def choose_route(record, preparation):
    """Choose the route by which the diffusion maps of a participant reach the group grid.

    Parameters
    ----------
    record : prepared.Record
    preparation : dict
        The choices of `settings.Preparation`.

    Returns
    -------
    {"t1w", "fa", "b0", "aligned", "grid"}
        ``aligned``: already in the space of the T1w; ``grid``: already in that of the template.
    """
    requested = preparation["dwi_normalization"]
    if record.maps_space == "template":
        return "grid"
    if requested == "fa" and record.dwi:
        return "fa"
    if record.aligned:
        return "aligned"
    if record.t1w:
        return "t1w"
    template = find_fa_template(preparation["template"], preparation["fa_template"])
    return "fa" if requested == "auto" and template else "b0"


def check_tools(preparation):
    """Refuse choices whose programs or templates are not installed.

    Parameters
    ----------
    preparation : settings.Preparation

    Raises
    ------
    ToolError
        If FSL is chosen and not on the PATH, or FA is chosen and there is no FA template.
    """
    if preparation.registration_engine == "fsl":
        check_fsl("flirt", "fnirt", "invwarp", "convertwarp")
    fa_template = find_fa_template(preparation.template, preparation.fa_template)
    if preparation.dwi_normalization == "fa" and fa_template is None:
        raise ToolError(
            f"Found no FA template for {preparation.template} (FSLDIR is "
            f"{os.environ.get('FSLDIR', 'not set')}), needed one for --dwi-normalization fa. Set "
            "FSLDIR for FSL's own in MNI152NLin6Asym, or give an image with --fa-template."
        )


def methods(route, preparation):
    """Write the methods sentence of a route.

    Parameters
    ----------
    route : {"t1w", "fa", "b0", "aligned", "grid"}
    preparation : dict
        The choices of `settings.Preparation`.

    Returns
    -------
    str
    """
    engine = FA_ENGINES[preparation["registration_engine"]]
    return METHODS[route].format(how=engine, **preparation)


def init_register_wf(*, route, template, grid_file, preparation, threads=1, name="register_wf"):
    """Build the workflow that brings diffusion maps onto the group grid.

    Parameters
    ----------
    route : {"t1w", "fa", "b0"}
        As `choose_route` returns it.
    template : resources.Template
    grid_file : path-like
    preparation : settings.Preparation
    threads : int
    name : str

    Returns
    -------
    nipype.pipeline.engine.Workflow
        *Inputs*: b0_brain, maps, mask, measured; t1w_brain and t1w_forward where the route goes
        through the T1w. *Outputs*: maps, mask and covered (on the group grid), transform (dwi to
        T1w, or to the template).
    """
    inputnode = Node(
        IdentityInterface(
            fields=["b0_brain", "maps", "mask", "measured", "t1w_brain", "t1w_forward"]
        ),
        "inputnode",
    )
    outputnode = Node(
        IdentityInterface(fields=["maps", "mask", "covered", "transform"]), "outputnode"
    )
    chain = Node(Merge(2 if route == "t1w" else 1), "chain", run_without_submitting=True)
    carry = Node(Carry(reference=str(grid_file)), "carry", mem_gb=1)
    carry_mask = Node(Carry(reference=str(grid_file), threshold=True), "carry_mask", mem_gb=1)
    cover = Node(Carry(reference=str(grid_file), threshold=True), "cover", mem_gb=1)
    shell = _find(route, template, preparation)
    find = Node(shell, "find", mem_gb=2, n_procs=threads)
    field = "transform" if route == "t1w" else "forward"
    workflow = Workflow(name)
    workflow.connect(
        [
            (
                inputnode,
                find,
                [(("maps", _fa), "in_file") if route == "fa" else ("b0_brain", "in_file")],
            ),
            (find, chain, [(field, "in2" if route == "t1w" else "in1")]),
            (find, outputnode, [(field, "transform")]),
            (inputnode, carry, [("maps", "in_files")]),
            (inputnode, carry_mask, [("mask", "in_files")]),
            (chain, carry, [("out", "transforms")]),
            (chain, carry_mask, [("out", "transforms")]),
            (inputnode, cover, [("measured", "in_files")]),
            (chain, cover, [("out", "transforms")]),
            (cover, outputnode, [("out_files", "covered")]),
            (carry, outputnode, [("out_files", "maps")]),
            (carry_mask, outputnode, [("out_files", "mask")]),
        ]
    )
    if route == "t1w":
        through = [("t1w_brain", "fixed"), ("mask", "mask")]
        workflow.connect([(inputnode, find, through), (inputnode, chain, [("t1w_forward", "in1")])])
    return workflow


def _find(route, template, preparation):
    """Return the interface that finds the transform of a route."""
    seeds = {"sloppy": preparation.sloppy, "seed": preparation.random_seed}
    if route == "t1w":
        return AlignRigid(seed=preparation.random_seed)
    if route == "b0":
        return Normalize(fixed=str(template.brain), **seeds)
    fixed = str(find_fa_template(preparation.template, preparation.fa_template))
    if preparation.registration_engine == "fsl":
        return NormalizeFsl(fixed=fixed, config="FA_2_FMRIB58_1mm", trim=True)
    return NormalizeFa(fixed=fixed, **seeds)


def _fa(paths):
    """Return the FA of the tensor; self-contained, since Nipype stores it in the node as text."""
    from pathlib import Path

    return next(path for path in paths if Path(path).name.startswith("tensor_FA."))
