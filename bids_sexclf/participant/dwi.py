"""Diffusion series: alignment of volumes, brain mask.

Denoising and distortion correction come before the alignment; the series that
leaves ``inputnode`` is what they hand over.
"""

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_sexclf.interfaces.diffusion import AlignVolumes, MaskB0

METHODS = (
    "Diffusion volumes were aligned with the mean b=0 volume ({kind} registration by mutual "
    "information, each shell through its mean) and b-vectors turned along "
    "[@leemans2009]. The brain was masked on the mean b=0 volume (median Otsu)."
)


def init_dwi_wf(*, preparation, threads=1, name="dwi_wf"):
    """Build the road from a raw diffusion series to an aligned one with its mask.

    Parameters
    ----------
    preparation : settings.Preparation
    threads : int
    name : str

    Returns
    -------
    nipype.pipeline.engine.Workflow
        *Inputs*: dwi, bval, bvec. *Outputs*: dwi, bvec, b0, b0_brain, mask, motion.
    """
    inputnode = Node(IdentityInterface(fields=["dwi", "bval", "bvec"]), "inputnode")
    outputnode = Node(
        IdentityInterface(fields=["dwi", "bvec", "b0", "b0_brain", "mask", "motion"]), "outputnode"
    )
    align = Node(
        AlignVolumes(
            kind=preparation.dwi_alignment, sloppy=preparation.sloppy, seed=preparation.random_seed
        ),
        "align",
        mem_gb=3,
        n_procs=threads,
    )
    mask = Node(MaskB0(), "mask", mem_gb=0.5)

    workflow = Workflow(name)
    workflow.connect(
        [
            (inputnode, align, [("dwi", "in_file"), ("bval", "bval"), ("bvec", "bvec")]),
            (align, mask, [("b0", "in_file")]),
            (
                align,
                outputnode,
                [("out_file", "dwi"), ("bvec", "bvec"), ("b0", "b0"), ("motion", "motion")],
            ),
            (mask, outputnode, [("out_file", "b0_brain"), ("mask_file", "mask")]),
        ]
    )
    return workflow
