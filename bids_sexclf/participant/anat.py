"""T1w: bias field, brain extraction, registration to the template."""

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_sexclf.interfaces.ants import BiasCorrect, Carry, ExtractBrain, Normalize
from bids_sexclf.interfaces.fsl import NormalizeFsl
from bids_sexclf.interfaces.images import Conform

METHODS = (
    "T1-weighted scans were corrected for intensity non-uniformity with N4 (Tustison et al. 2010). "
    "The brain mask of the {template} template was carried to each scan by registering the whole "
    "head (affine and SyN, mutual information; Avants et al. 2008), and was then fitted to the "
    "scan's own intensities. The extracted brain was registered to the template's brain ({how}) "
    "and resampled once to {resolution} mm voxels by linear interpolation."
)

ENGINES = {
    "ants": "SyN",
    "fsl": "FLIRT and, with the whole head, FNIRT; Jenkinson et al. 2002, Andersson et al. 2007",
}


def methods(preparation):
    """Write the paragraph of the T1w's road.

    Parameters
    ----------
    preparation : dict
        The choices of `settings.Preparation`.

    Returns
    -------
    str
    """
    return METHODS.format(how=ENGINES[preparation["registration_engine"]], **preparation)


def init_anat_wf(*, template, grid_file, preparation, threads=1, name="anat_wf"):
    """Build the road from a T1w to a brain on the group grid.

    Parameters
    ----------
    template : resources.Template
    grid_file : path-like
        Image of the group grid.
    preparation : settings.Preparation
    threads : int
        Threads of the nodes that can use several.
    name : str

    Returns
    -------
    nipype.pipeline.engine.Workflow
        *Inputs*: t1w. *Outputs*: t1w (bias-corrected, RAS+), mask, brain, forward and inverse
        (transforms to and from the template), t1w_template, mask_template.
    """
    inputnode = Node(IdentityInterface(fields=["t1w"]), "inputnode")
    outputnode = Node(
        IdentityInterface(
            fields=["t1w", "mask", "brain", "forward", "inverse", "t1w_template", "mask_template"]
        ),
        "outputnode",
    )
    seeds = {"sloppy": preparation.sloppy, "seed": preparation.random_seed}
    conform = Node(Conform(), "conform", mem_gb=0.5)
    n4 = Node(BiasCorrect(), "n4", mem_gb=1, n_procs=threads)
    extract = Node(
        ExtractBrain(head=str(template.head), head_mask=str(template.mask), **seeds),
        "extract",
        mem_gb=2,
        n_procs=threads,
    )
    normalize = Node(
        _normalizer(template, preparation, seeds), "normalize", mem_gb=2, n_procs=threads
    )
    carry = Node(Carry(reference=str(grid_file)), "carry", mem_gb=1)
    carry_mask = Node(Carry(reference=str(grid_file), threshold=True), "carry_mask", mem_gb=1)

    workflow = Workflow(name)
    workflow.connect(
        [
            (inputnode, conform, [("t1w", "in_file")]),
            (conform, n4, [("out_file", "in_file")]),
            (n4, extract, [("out_file", "in_file")]),
            (extract, normalize, [("out_file", "in_file")]),
            (extract, carry, [("out_file", "in_files")]),
            (normalize, carry, [("forward", "transforms")]),
            (extract, carry_mask, [("mask_file", "in_files")]),
            (normalize, carry_mask, [("forward", "transforms")]),
            (n4, outputnode, [("out_file", "t1w")]),
            (extract, outputnode, [("mask_file", "mask"), ("out_file", "brain")]),
            (normalize, outputnode, [("forward", "forward"), ("inverse", "inverse")]),
            (carry, outputnode, [("out_files", "t1w_template")]),
            (carry_mask, outputnode, [("out_files", "mask_template")]),
        ]
    )
    if preparation.registration_engine == "fsl":
        workflow.connect([(n4, normalize, [("out_file", "head")])])
    else:
        workflow.connect([(extract, normalize, [("affine", "initial")])])
    return workflow


def _normalizer(template, preparation, seeds):
    """Give the interface of the engine asked for."""
    if preparation.registration_engine == "ants":
        return Normalize(fixed=str(template.brain), **seeds)
    return NormalizeFsl(
        fixed=str(template.brain), fixed_head=str(template.head), fixed_mask=str(template.mask)
    )
