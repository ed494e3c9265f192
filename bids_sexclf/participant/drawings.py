"""The pictures of diffusion data, wired to the steps that they show."""

from nipype.pipeline.engine import Node

from bids_sexclf.diffusion.families import FAMILIES
from bids_sexclf.interfaces.ants import Carry
from bids_sexclf.interfaces.given import Regrid
from bids_sexclf.interfaces.pictures import (
    DrawColours,
    DrawFlicker,
    DrawGradients,
    DrawMaps,
    DrawOutline,
    DrawResidual,
    DrawSeries,
    DrawVolume,
)
from bids_sexclf.participant.dwi import list_made


def _draw_distortion(workflow, dwi_wf, *, cuts):
    """Wire the picture of the mean b0 before and after its correction."""
    dwidistortion = Node(
        DrawFlicker(cuts=cuts, labels=("as scanned", "corrected")), "dwidistortion", mem_gb=0.5
    )
    drawn = [("b0_distorted", "fixed"), ("b0", "moved"), ("mask", "outline")]
    workflow.connect([(dwi_wf, dwidistortion, [(f"outputnode.{n}", field) for n, field in drawn])])
    return [("dwidistortion", dwidistortion)]


def draw_dwi(workflow, anat_wf, dwi_wf, register_wf, references, *, cuts, aligned):
    """Wire the pictures of brain mask, alignment and FA.

    Parameters
    ----------
    workflow : nipype.pipeline.engine.Workflow
        Of the participant-session.
    anat_wf : nipype.pipeline.engine.Workflow or None
        The workflow of the T1w that the series was aligned with.
    dwi_wf, register_wf : nipype.pipeline.engine.Workflow
    references : dict of str to path-like
        Images on the group grid.
    cuts : int
        Slices per direction.
    aligned : bool
        The series lies in the space of the T1w already.

    Returns
    -------
    list of (str, nipype.pipeline.engine.Node)
        The key of each picture, and the node that draws it.
    """
    dwimask = Node(DrawOutline(cuts=cuts), "dwimask", mem_gb=0.5)
    famap = Node(DrawOutline(cuts=cuts, mask=references["mask"]), "famap", mem_gb=0.5)
    outlined = [("outputnode.b0", "background"), ("outputnode.mask", "mask")]
    workflow.connect(
        [
            (dwi_wf, dwimask, outlined),
            (register_wf, famap, [(("outputnode.maps", first_path), "background")]),
        ]
    )
    if anat_wf is None:
        return [("dwimask", dwimask), ("famap", famap)]
    moved = Node(Regrid() if aligned else Carry(), "b0_on_t1w", mem_gb=1)
    dwit1w = Node(DrawFlicker(cuts=cuts, labels=("T1w", "mean b=0")), "dwit1w", mem_gb=0.5)
    workflow.connect(
        [
            (dwi_wf, moved, [("outputnode.b0_brain", "in_file" if aligned else "in_files")]),
            (anat_wf, moved, [("outputnode.brain", "reference")]),
            (anat_wf, dwit1w, [("outputnode.brain", "fixed"), ("outputnode.mask", "outline")]),
            (moved, dwit1w, [("out_files", "moved")]),
        ]
    )
    if not aligned:
        workflow.connect([(register_wf, moved, [("outputnode.transform", "transforms")])])
    return [("dwimask", dwimask), ("dwit1w", dwit1w), ("famap", famap)]


def draw_series(workflow, dwi_wf, maps_wf, quality, *, models, cuts):
    """Wire the pictures of gradients, steps, volumes and maps.

    Parameters
    ----------
    workflow : nipype.pipeline.engine.Workflow
        Of the participant-session.
    dwi_wf, maps_wf : nipype.pipeline.engine.Workflow
    quality : nipype.pipeline.engine.Node
        Receives the counts of slices without signal.
    models : list of str
        Of `diffusion.families.FAMILIES`.
    cuts : int
        Slices per direction.

    Returns
    -------
    list of (str, nipype.pipeline.engine.Node)
        The key of each picture, and the node that draws it.
    """
    gradients = Node(DrawGradients(), "gradients", mem_gb=0.5)
    volumes = Node(DrawSeries(), "series", mem_gb=1)
    read = [("dwi", "in_file"), *((name, name) for name in ("bval", "bvec", "mask", "motion"))]
    workflow.connect(
        [
            (dwi_wf, gradients, [(f"outputnode.{name}", name) for name in ("bval", "bvec")]),
            (dwi_wf, volumes, [(f"outputnode.{field}", name) for field, name in read]),
            (volumes, quality, [("counts", "slices")]),
        ]
    )
    pictures = [("gradients", gradients), ("series", volumes)]
    for key, field in (("denoised", "noise_residual"), ("unrung", "gibbs_residual")):
        if field in list_made(dwi_wf):
            node = Node(DrawResidual(cuts=cuts), key, mem_gb=0.5)
            drawn = [(f"outputnode.{field}", "residual"), ("outputnode.mask", "mask")]
            workflow.connect([(dwi_wf, node, drawn)])
            pictures.append((key, node))
    if "b0_distorted" in list_made(dwi_wf):
        pictures += _draw_distortion(workflow, dwi_wf, cuts=cuts)
    pictures += _draw_slices(workflow, dwi_wf, maps_wf, models=models, cuts=cuts)
    for model in models:
        node = Node(DrawMaps(cuts=cuts, model=FAMILIES[model].label), f"{model}maps", mem_gb=0.5)
        workflow.connect([(maps_wf, node, [("outputnode.maps", "in_files")])])
        workflow.connect([(dwi_wf, node, [("outputnode.mask", "mask")])])
        pictures.append((f"{model}maps", node))
    return pictures


def _draw_slices(workflow, dwi_wf, maps_wf, *, models, cuts):
    """Wire the pictures of the mean b0 and of the directions of diffusion; return them."""
    b0 = Node(DrawVolume(cuts=cuts), "b0", mem_gb=0.5)
    drawn = [("outputnode.b0", "in_file"), ("outputnode.mask", "mask")]
    workflow.connect([(dwi_wf, b0, drawn)])
    if "tensor" not in models:
        return [("b0", b0)]
    colours = Node(DrawColours(cuts=cuts), "colourfa", mem_gb=0.5)
    workflow.connect([(dwi_wf, colours, [("outputnode.mask", "mask")])])
    workflow.connect([(maps_wf, colours, [("outputnode.colours", "in_file")])])
    return [("b0", b0), ("colourfa", colours)]


def first_path(paths):
    """Return the first of one or several paths."""
    return paths[0] if isinstance(paths, list) else paths
