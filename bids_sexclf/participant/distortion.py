"""Susceptibility distortion: estimate one warp from a mean b0 and its companion scans."""

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_sexclf.distortion.fieldmaps import read_encoding
from bids_sexclf.interfaces.distortion import (
    AverageB0,
    FindByFieldmap,
    FindByOpposite,
    FindByT1w,
    MakeField,
    Unwarp,
)
from bids_sexclf.interfaces.topup import PairForTopup, ReadTopup

METHODS = {
    "topup": (
        "Susceptibility distortion was estimated from two b=0 volumes of opposite phase encoding "
        "with FSL's topup [@andersson2003]."
    ),
    "opposite": (
        "Susceptibility distortion was estimated from two b=0 volumes of opposite phase encoding, "
        "as the field that makes them alike once each is unwarped and modulated by its Jacobian "
        "[@andersson2003; @ruthotto2012], in turn with the rigid motion "
        "between them."
    ),
    "fieldmap": (
        "Susceptibility distortion was computed from a gradient-echo field map, unwrapped "
        "[@herraez2002], smoothed, and aligned rigidly with the mean b=0 volume."
    ),
    "t1w": (
        "Susceptibility distortion was estimated as the smooth shift along the phase-encoding "
        "axis by which the mean b=0 volume shows the border of the T1w's white matter best, a "
        "boundary-based cost [@greve2009] that was minimised over cosine waves."
    ),
    "auto": (
        "Susceptibility distortion was corrected by what each dataset allows: opposite phase "
        "encodings or a field map; each participant's quality file names the method."
    ),
    "none": "Susceptibility distortion was not corrected.",
}

FIELDS = (
    "b0",
    "mask",
    "axis",
    "readout",
    "why",
    "opposite",
    "opposite_bval",
    "opposite_axis",
    "opposite_readout",
    "phase",
    "magnitude",
    "t1w_brain",
)


def init_distortion_wf(*, method, preparation, threads=1, kind=None, name="distortion_wf"):
    """Build the workflow that estimates the warp which corrects a distorted mean b0.

    Parameters
    ----------
    method : {"topup", "opposite", "fieldmap", "t1w"}
    preparation : settings.Preparation
    threads : int
    kind : dict, optional
        Of the field map: its ``kind``, ``delay`` and ``scale``.
    name : str

    Returns
    -------
    nipype.pipeline.engine.Workflow
        *Inputs*: b0, mask, axis (of the array), readout (s, negative against the axis), why; and
        for opposite encodings opposite (scan), opposite_bval, opposite_axis, opposite_readout; for
        a field map phase (list), magnitude; for the T1w t1w_brain. *Outputs*: warp (ANTs
        displacement field), jacobian, b0 (unwarped), record (JSON, for the quality file); for
        ``opposite`` also opposite_shift, by which `init_mirrored_wf` corrects the other scan.
    """
    inputnode = Node(IdentityInterface(fields=list(FIELDS)), "inputnode")
    outputs = ["warp", "jacobian", "b0", "record", "opposite_shift"]
    outputnode = Node(IdentityInterface(fields=outputs), "outputnode")
    unwarp = Node(Unwarp(), "unwarp", mem_gb=1)
    workflow = Workflow(name)
    connect = {"topup": _by_topup, "opposite": _by_opposite, "fieldmap": _by_field, "t1w": _by_t1w}
    find = connect[method](workflow, inputnode, preparation, threads, kind)
    workflow.connect(
        [
            (inputnode, find, [(field, field) for field in ("b0", "axis", "why")]),
            (inputnode, unwarp, [("b0", "b0"), ("axis", "axis")]),
            (find, unwarp, [("shift", "shift")]),
            (unwarp, outputnode, [(field, field) for field in ("warp", "jacobian", "b0")]),
            (find, outputnode, [("record", "record")]),
        ]
    )
    if method == "opposite":
        workflow.connect([(find, outputnode, [("opposite_shift", "opposite_shift")])])
    return workflow


def init_mirrored_wf(correction, *, name="distortion_wf"):
    """Build the workflow of a scan whose field was estimated with the opposite scan.

    Parameters
    ----------
    correction : fieldmaps.Correction
        Of this scan.
    name : str

    Returns
    -------
    nipype.pipeline.engine.Workflow
        *Inputs*: b0, shift (on its grid), record. *Outputs*: warp, jacobian, b0, record.
    """
    inputnode = Node(IdentityInterface(fields=["b0", "shift", "record"]), "inputnode")
    outputs = ["warp", "jacobian", "b0", "record"]
    outputnode = Node(IdentityInterface(fields=outputs), "outputnode")
    unwarp = Node(Unwarp(axis=correction.axis), "unwarp", mem_gb=1)
    workflow = Workflow(name)
    workflow.connect(
        [
            (inputnode, unwarp, [("b0", "b0"), ("shift", "shift")]),
            (inputnode, outputnode, [("record", "record")]),
            (unwarp, outputnode, [(field, field) for field in ("warp", "jacobian", "b0")]),
        ]
    )
    return workflow


def init_correction_wf(correction, *, preparation, threads=1, alone=True, name="distortion_wf"):
    """Build the workflow of the chosen correction, and set all its inputs but the series.

    Parameters
    ----------
    correction : fieldmaps.Correction or None
    preparation : settings.Preparation
    threads : int
    alone : bool
        The oppositely encoded scan is not part of the series: its b0 volumes are averaged here.
    name : str

    Returns
    -------
    nipype.pipeline.engine.Workflow or None
        As `init_distortion_wf` returns it; None where nothing is corrected.
    """
    if correction is None or correction.method == "none":
        return None
    files, method = correction.inputs or {}, correction.method
    kind = {key: files.get(key) for key in ("kind", "delay", "scale")}
    workflow = init_distortion_wf(
        method=method, preparation=preparation, threads=threads, kind=kind, name=name
    )
    inputs = workflow.inputs.inputnode
    inputs.trait_set(axis=correction.axis, why=correction.why)
    if correction.readout:
        inputs.readout = correction.readout
    if method in ("topup", "opposite"):
        axis, sign = read_encoding(files["direction"])
        inputs.opposite_axis = axis
        inputs.opposite_readout = sign * (files["readout"] or abs(correction.readout))
        if alone:
            inputs.opposite = files["path"]
        if alone and files["bval"]:
            inputs.opposite_bval = files["bval"]
    elif method == "fieldmap":
        inputs.trait_set(phase=files["phase"], magnitude=files["magnitude"])
    return workflow


def _average(workflow, inputnode, preparation):
    """Wire the mean b0 of the oppositely encoded scan."""
    average = Node(AverageB0(seed=preparation.random_seed), "average", mem_gb=1)
    workflow.connect([(inputnode, average, [("opposite", "in_file"), ("opposite_bval", "bval")])])
    return average


OPPOSITE = tuple((field, field) for field in ("readout", "opposite_axis", "opposite_readout"))


def _by_opposite(workflow, inputnode, preparation, threads, kind):
    average = _average(workflow, inputnode, preparation)
    find = Node(FindByOpposite(sloppy=preparation.sloppy), "find", mem_gb=2)
    workflow.connect(
        [(inputnode, find, list(OPPOSITE)), (average, find, [("out_file", "opposite")])],
    )
    return find


def _by_topup(workflow, inputnode, preparation, threads, kind):
    from nipype.interfaces.fsl import TOPUP

    average = _average(workflow, inputnode, preparation)
    pair = Node(PairForTopup(), "pair", mem_gb=0.5)
    topup = Node(TOPUP(config="b02b0.cnf", output_type="NIFTI_GZ"), "topup", mem_gb=2)
    find = Node(ReadTopup(), "find", mem_gb=0.5)
    fields = [("out_field", "field"), ("out_corrected", "corrected")]
    workflow.connect(
        [
            (inputnode, pair, [("b0", "b0"), ("axis", "axis"), *OPPOSITE]),
            (average, pair, [("out_file", "opposite")]),
            (pair, topup, [("in_file", "in_file"), ("encoding_file", "encoding_file")]),
            (inputnode, find, [("readout", "readout")]),
            (pair, find, [("in_file", "pair")]),
            (topup, find, fields),
        ]
    )
    return find


def _by_field(workflow, inputnode, preparation, threads, kind):
    options = {key: value for key, value in kind.items() if value is not None}
    field = Node(MakeField(**options), "field", mem_gb=1)
    find = Node(FindByFieldmap(seed=preparation.random_seed), "find", mem_gb=1, n_procs=threads)
    workflow.connect(
        [
            (inputnode, field, [("phase", "phase"), ("magnitude", "magnitude")]),
            (inputnode, find, [("readout", "readout")]),
            (field, find, [("field", "field"), ("magnitude", "magnitude")]),
        ]
    )
    return find


def _by_t1w(workflow, inputnode, preparation, threads, kind):
    find = Node(FindByT1w(seed=preparation.random_seed), "find", mem_gb=1, n_procs=threads)
    workflow.connect([(inputnode, find, [("mask", "mask"), ("t1w_brain", "t1w_brain")])])
    return find
