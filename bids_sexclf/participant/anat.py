"""T1w: bias field, brain extraction, registration to the template."""

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_sexclf.anatomy.opinions import LEAST_OPINIONS
from bids_sexclf.interfaces.ants import BiasCorrect, Carry
from bids_sexclf.interfaces.extract import ExtractBrain
from bids_sexclf.interfaces.fsl import NormalizeFsl, check_fsl
from bids_sexclf.interfaces.greedy import Deform
from bids_sexclf.interfaces.images import Conform
from bids_sexclf.interfaces.masks import SECOND
from bids_sexclf.interfaces.tissues import Unbias
from bids_sexclf.resources import find_weights

METHODS = (
    "T1-weighted scans were corrected roughly for intensity non-uniformity with N4 "
    "[@tustison2010]. {extraction} Inside the brain, the rest of the non-uniformity was found "
    "together with the tissues [@wells1996; @ashburner2005] and removed, so that white matter is "
    "as bright at the vertex as at the base. {normalization}"
)

NORMALIZATION = (
    "The extracted brain was registered to the brain of the {template} template by {how}, and "
    "resampled once to {resolution} mm voxels by linear interpolation."
)

EXTRACTION = {
    "deepbet": (
        "The brain was extracted by the trained network deepbet [@fisch2024]; its mask is all that "
        "lies within the skull."
    ),
    "template": (
        "The brain mask of the {template} template was carried to each scan by registering the "
        "whole head: a linear transform by mutual information by ANTs [@avants2008], then a "
        "deformation by cross-correlation by Greedy [@yushkevich2016]. Where its "
        "outline cut through tissue that ended in a dark gap at most 8 mm further out, it was "
        "moved out to that gap. It means "
        "brain and the fluid between its folds, not all that lies within the skull."
    ),
    "bet": "The brain was extracted with FSL's robustfov and bet [@smith2002].",
    "skip": "Scans came without their skulls; what was not empty was taken as the brain.",
}

OPINIONS = (
    " A second mask was made independently ({second}). Where the two overlapped by less than "
    "{least:.2f} (Dice), or volume, symmetry, agreement with the template or completeness of the "
    "brain were implausible, both were made again with the scan turned; scans that showed no "
    "plausible brain were left out."
)
SECOND_OPINIONS = {
    "template": "the template's mask, carried by a linear transform by ANTs [@avants2008] and a "
    "coarse deformation of the whole head by Greedy [@yushkevich2016]",
    "deepbet": "the trained network deepbet [@fisch2024]",
}

ALREADY = " Scans that came without their skulls were taken as they were."

ENGINES = {
    "ants": (
        "a linear transform (ANTs) and a deformation by local cross-correlation (Greedy, "
        "{registration} setting)"
    ),
    "fsl": (
        "FLIRT [@jenkinson2002] and FNIRT [@andersson2007], which takes the whole head where "
        "there is one"
    ),
}


def check_tools(preparation):
    """Raise ToolError where a program or weights of the brain extraction are absent."""
    if preparation.skull_strip == "skip":
        return
    find_weights()
    if preparation.brain_extraction == "bet":
        check_fsl("robustfov", "bet")


def describe_normalization(preparation):
    """Write the sentence about how a brain reaches the group grid.

    Parameters
    ----------
    preparation : dict
        The choices of `settings.Preparation`.

    Returns
    -------
    str
    """
    method = ENGINES[preparation["registration_engine"]].format(**preparation)
    return NORMALIZATION.format(how=method, **preparation)


def methods(preparation):
    """Write the methods paragraph about the T1w.

    Parameters
    ----------
    preparation : dict
        The choices of `settings.Preparation`.

    Returns
    -------
    str
    """
    strip = preparation["skull_strip"]
    first = preparation["brain_extraction"]
    extraction = EXTRACTION["skip" if strip == "skip" else first].format(**preparation)
    if strip != "skip":
        second = SECOND_OPINIONS[SECOND[first]]
        extraction += OPINIONS.format(second=second, least=LEAST_OPINIONS)
    extraction += ALREADY if strip == "auto" else ""
    return METHODS.format(extraction=extraction, normalization=describe_normalization(preparation))


def init_anat_wf(*, template, grid_file, preparation, tissue_maps=(), threads=1, name="anat_wf"):
    """Build the workflow that brings the brain of a T1w onto the group grid.

    Parameters
    ----------
    template : resources.Template
    grid_file : path-like
        Image of the group grid.
    preparation : settings.Preparation
    tissue_maps : pair of path-like, optional
        Share of grey and of white matter in the template's space.
    threads : int
        Threads of the nodes that can use several.
    name : str

    Returns
    -------
    nipype.pipeline.engine.Workflow
        *Inputs*: t1w. *Outputs*: t1w (bias-corrected, RAS+), mask, brain, forward and inverse
        (transforms to and from the template), t1w_template, mask_template, about (JSON: sidecar
        fields of T1w and mask), evidence (JSON: numbers by which the mask is judged).
    """
    inputnode = Node(IdentityInterface(fields=["t1w"]), "inputnode")
    outputnode = Node(
        IdentityInterface(
            fields=["t1w", "mask", "brain", "forward", "inverse", "t1w_template", "mask_template"]
            + ["about", "evidence"]
        ),
        "outputnode",
    )
    conform = Node(Conform(), "conform", mem_gb=0.5)
    n4 = Node(BiasCorrect(), "n4", mem_gb=1, n_procs=threads)
    extract = Node(
        _extractor(template, preparation, threads), "extract", mem_gb=2.5, n_procs=threads
    )
    unbias = make_unbias(tissue_maps, preparation, invert=True)
    normalizer = choose_normalizer(template, preparation, threads)
    normalize = Node(normalizer, "normalize", mem_gb=3, n_procs=threads)
    carry = Node(Carry(reference=str(grid_file)), "carry", mem_gb=1)
    carry_mask = Node(Carry(reference=str(grid_file), threshold=True), "carry_mask", mem_gb=1)

    workflow = Workflow(name)
    workflow.connect(
        [
            (inputnode, conform, [("t1w", "in_file")]),
            (conform, n4, [("out_file", "in_file")]),
            (n4, extract, [("out_file", "in_file")]),
            (n4, unbias, [("out_file", "in_file")]),
            (extract, unbias, [("mask_file", "mask_file"), ("affine", "transforms")]),
            (unbias, normalize, [("brain", "in_file")]),
            (unbias, carry, [("brain", "in_files")]),
            (normalize, carry, [("forward", "transforms")]),
            (extract, carry_mask, [("mask_file", "in_files")]),
            (normalize, carry_mask, [("forward", "transforms")]),
            (unbias, outputnode, [("out_file", "t1w"), ("brain", "brain")]),
            (
                extract,
                outputnode,
                [("mask_file", "mask"), ("about", "about"), ("evidence", "evidence")],
            ),
            (normalize, outputnode, [("forward", "forward"), ("inverse", "inverse")]),
            (carry, outputnode, [("out_files", "t1w_template")]),
            (carry_mask, outputnode, [("out_files", "mask_template")]),
        ]
    )
    if preparation.registration_engine == "fsl":
        workflow.connect([(extract, normalize, [("head", "head")])])
    else:
        workflow.connect([(extract, normalize, [("affine", "initial")])])
    return workflow


def make_unbias(tissue_maps, preparation, invert=False):
    """Return the node that removes the bias field inside the brain.

    Parameters
    ----------
    tissue_maps : pair of path-like
        Share of grey and of white matter in the template's space; may be empty.
    preparation : settings.Preparation
    invert : bool
        The transforms of the node are linear and lead to the template.

    Returns
    -------
    nipype.pipeline.engine.Node
        *Inputs*: in_file, mask_file, transforms. *Outputs*: out_file, brain.
    """
    unbias = Node(Unbias(sloppy=preparation.sloppy, invert=invert), "unbias", mem_gb=1.5)
    if tissue_maps:
        unbias.inputs.maps = [str(path) for path in tissue_maps]
    return unbias


def _extractor(template, preparation, threads):
    """Return the interface that extracts the brain."""
    return ExtractBrain(
        head=str(template.head),
        head_mask=str(template.mask),
        brain=str(template.brain),
        skull_strip=preparation.skull_strip,
        method=preparation.brain_extraction,
        recipe="sloppy" if preparation.sloppy else "head",
        seed=preparation.random_seed,
        threads=threads,
    )


def choose_normalizer(template, preparation, threads):
    """Return the interface that registers a brain to the template by the chosen engine.

    Parameters
    ----------
    template : resources.Template
    preparation : settings.Preparation
    threads : int

    Returns
    -------
    nipype.interfaces.base.BaseInterface
        *Inputs*: in_file. *Outputs*: forward, inverse.
    """
    if preparation.registration_engine == "ants":
        return Deform(
            fixed=str(template.brain),
            recipe="sloppy" if preparation.sloppy else preparation.registration,
            seed=preparation.random_seed,
            threads=threads,
        )
    return NormalizeFsl(
        fixed=str(template.brain), fixed_head=str(template.head), fixed_mask=str(template.mask)
    )
