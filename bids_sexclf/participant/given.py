"""Workflows for data that other tools have prepared: each starts where the tool has ended."""

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_sexclf.derivatives.offers import about
from bids_sexclf.interfaces.ants import BiasCorrect, Carry
from bids_sexclf.interfaces.given import MeanB0, TakeMaps, TakeMask, TakeMotion
from bids_sexclf.interfaces.images import Conform
from bids_sexclf.participant.anat import choose_normalizer, describe_normalization, make_unbias

METHODS = {
    "taken": "{steps} {verb} taken over from {title}{cite}.",
    "n4": (
        "T1-weighted scans were corrected roughly for intensity non-uniformity with N4 "
        "[@tustison2010], and the brain was extracted with the mask that came with them. Inside "
        "it, the rest of the non-uniformity was found together with the tissues [@wells1996] and "
        "removed."
    ),
    "carry": (
        "The extracted brain was resampled once to {resolution} mm voxels of the {template} "
        "template through the transform taken over, by linear interpolation."
    ),
}

RUNS = {
    "best": (
        "Of several runs of the T1w the sharpest was taken: that with the lowest entropy focus "
        "[@atkinson1997]."
    ),
    "average": (
        "Several runs of the T1w were aligned rigidly with the first one and averaged, scaled to "
        "its level."
    ),
    "concatenate": "The runs of the diffusion series were joined, each with its own gradients.",
}


def methods(provenance, record):
    """Write the methods sentences about data that other tools have prepared.

    Parameters
    ----------
    provenance : dict
        The choices of `settings.Preparation`.
    record : prepared.Record

    Returns
    -------
    dict of str to str
        ``taken``: which tool did what; ``t1w``: the sentences that replace the ordinary ones,
        where the T1w is already prepared.
    """
    steps, texts = {}, {}
    for step, name in record.done.items():
        steps.setdefault(name, []).append(step)
    sentences = []
    for name, done_by_tool in steps.items():
        entry = about(name)
        listed = " and ".join(filter(None, (", ".join(done_by_tool[:-1]), done_by_tool[-1])))
        listed = listed[0].upper() + listed[1:]
        cite = f" [@{entry['cite']}]" if "cite" in entry else ""
        verb = "were" if len(done_by_tool) > 1 else "was"
        sentences.append(
            METHODS["taken"].format(steps=listed, verb=verb, title=entry["title"], cite=cite)
        )
    if sentences:
        texts["taken"] = " ".join(sentences)
    if record.t1w_mask:
        parts = [] if record.bias_done else [METHODS["n4"]]
        if record.t1w_to_template:
            parts.append(METHODS["carry"].format(**provenance))
        else:
            parts.append(describe_normalization(provenance))
        texts["t1w"] = " ".join(parts)
    return texts


def init_given_anat_wf(
    *, record, template, grid_file, preparation, tissue_maps=(), threads=1, name="anat_wf"
):
    """Build the workflow that brings a T1w with a given mask onto the group grid.

    Parameters
    ----------
    record : prepared.Record
        Has ``t1w_mask``. N4 is skipped where the bias field is already removed; the registration
        is skipped where transforms exist.
    template : resources.Template
    grid_file : path-like
    preparation : settings.Preparation
    tissue_maps : pair of path-like, optional
        Share of grey and of white matter in the template's space. They help to find the bias field
        where a transform is at hand.
    threads : int
    name : str

    Returns
    -------
    nipype.pipeline.engine.Workflow
        *Inputs*: t1w. *Outputs*: those of `anat.init_anat_wf`; about and evidence stay empty.
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
    take_mask = Node(TakeMask(mask=str(record.t1w_mask)), "take_mask", mem_gb=0.5)
    carry = Node(Carry(reference=str(grid_file)), "carry", mem_gb=1)
    carry_mask = Node(Carry(reference=str(grid_file), threshold=True), "carry_mask", mem_gb=1)
    workflow = Workflow(name)
    workflow.connect([(inputnode, conform, [("t1w", "in_file")])])
    clean, whole, brain = conform, (conform, "out_file"), (take_mask, "out_file")
    if not record.bias_done:
        clean = Node(BiasCorrect(), "n4", mem_gb=1, n_procs=threads)
        unbias = make_unbias(tissue_maps, preparation)
        whole, brain = (unbias, "out_file"), (unbias, "brain")
        workflow.connect(
            [
                (conform, clean, [("out_file", "in_file")]),
                (clean, unbias, [("out_file", "in_file")]),
                (take_mask, unbias, [("mask_file", "mask_file")]),
            ]
        )
        if record.t1w_to_template:
            unbias.inputs.transforms = [str(record.template_to_t1w)]
    if record.t1w_to_template:
        carry.inputs.transforms = carry_mask.inputs.transforms = [str(record.t1w_to_template)]
        outputnode.inputs.forward = str(record.t1w_to_template)
        outputnode.inputs.inverse = str(record.template_to_t1w)
    else:
        normalize = Node(
            choose_normalizer(template, preparation, threads),
            "normalize",
            mem_gb=2,
            n_procs=threads,
        )
        workflow.connect(
            [
                (brain[0], normalize, [(brain[1], "in_file")]),
                (normalize, carry, [("forward", "transforms")]),
                (normalize, carry_mask, [("forward", "transforms")]),
                (normalize, outputnode, [("forward", "forward"), ("inverse", "inverse")]),
            ]
        )
    workflow.connect(
        [
            (clean, take_mask, [("out_file", "in_file")]),
            (brain[0], carry, [(brain[1], "in_files")]),
            (take_mask, carry_mask, [("mask_file", "in_files")]),
            (whole[0], outputnode, [(whole[1], "t1w")]),
            (brain[0], outputnode, [(brain[1], "brain")]),
            (take_mask, outputnode, [("mask_file", "mask")]),
            (carry, outputnode, [("out_files", "t1w_template")]),
            (carry_mask, outputnode, [("out_files", "mask_template")]),
        ]
    )
    return workflow


def init_given_dwi_wf(*, record, name="dwi_wf"):
    """Build the workflow that makes mean b0 and mask of a preprocessed diffusion series.

    Parameters
    ----------
    record : prepared.Record
        Whose ``dwi_mask`` and ``dwi_motion`` are taken, where there are any.
    name : str

    Returns
    -------
    nipype.pipeline.engine.Workflow
        *Inputs*: dwi, bval, bvec. *Outputs*: those of `dwi.init_dwi_wf`; motion only where the
        other tool reports it.
    """
    from bids_sexclf.interfaces.diffusion import MaskB0

    inputnode = Node(IdentityInterface(fields=["dwi", "bval", "bvec"]), "inputnode")
    outputnode = Node(
        IdentityInterface(fields=["dwi", "bval", "bvec", "b0", "b0_brain", "mask", "motion"]),
        "outputnode",
    )
    mean = Node(MeanB0(), "mean", mem_gb=1)
    if record.dwi_mask:
        mask = Node(TakeMask(mask=str(record.dwi_mask)), "mask", mem_gb=0.5)
    else:
        mask = Node(MaskB0(), "mask", mem_gb=0.5)
    workflow = Workflow(name)
    workflow.connect(
        [
            (inputnode, mean, [("dwi", "in_file"), ("bval", "bval")]),
            (mean, mask, [("out_file", "in_file")]),
            (inputnode, outputnode, [(kind, kind) for kind in ("dwi", "bval", "bvec")]),
            (mean, outputnode, [("out_file", "b0")]),
            (mask, outputnode, [("out_file", "b0_brain"), ("mask_file", "mask")]),
        ]
    )
    if record.dwi_motion:
        motion = Node(TakeMotion(in_file=str(record.dwi_motion)), "motion", mem_gb=0.1)
        workflow.connect([(motion, outputnode, [("motion", "motion")])])
    return workflow


def init_given_register_wf(*, grid_file, covers=False, name="register_wf"):
    """Build the workflow that brings maps in the space of the T1w onto the group grid.

    Parameters
    ----------
    grid_file : path-like
    covers : bool
        Resample the coverage mask too; maps without their series have none.
    name : str

    Returns
    -------
    nipype.pipeline.engine.Workflow
        *Inputs* and *Outputs*: those of `register.init_register_wf`; there is no transform to the
        T1w, and no ``mask``.
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
    carry = Node(Carry(reference=str(grid_file)), "carry", mem_gb=1)
    workflow = Workflow(name)
    workflow.connect(
        [
            (inputnode, carry, [("maps", "in_files"), ("t1w_forward", "transforms")]),
            (carry, outputnode, [("out_files", "maps")]),
        ]
    )
    if covers:
        cover = Node(Carry(reference=str(grid_file), threshold=True), "cover", mem_gb=1)
        inputs = [("measured", "in_files"), ("t1w_forward", "transforms")]
        workflow.connect([(inputnode, cover, inputs)])
        workflow.connect([(cover, outputnode, [("out_files", "covered")])])
    return workflow


def init_given_maps_wf(*, record, grid_file, name="maps_wf"):
    """Build the workflow of maps that another tool has fitted.

    Parameters
    ----------
    record : prepared.Record
    grid_file : path-like
        Where the maps lie in the template's space, they are carried to this grid.
    name : str

    Returns
    -------
    nipype.pipeline.engine.Workflow
        *Outputs*: maps.
    """
    outputnode = Node(IdentityInterface(fields=["maps"]), "outputnode")
    names = list(record.maps)
    take = Node(
        TakeMaps(in_files=[str(record.maps[name]) for name in names], names=names),
        "take",
        mem_gb=0.5,
    )
    if record.maps_space == "template":
        take.inputs.reference = str(grid_file)
    workflow = Workflow(name)
    workflow.connect([(take, outputnode, [("out_files", "maps")])])
    return workflow
