"""Diffusion series: noise, ringing, motion and eddy currents, distortion, bias field, mask.

Every volume is resampled once: transforms are estimated first, the distortion between the two.
"""

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_sexclf.interfaces.denoise import Degibbs, Denoise
from bids_sexclf.interfaces.diffusion import (
    EstimateMotion,
    FindBias,
    MaskB0,
    MeanB0,
    ResampleSeries,
)
from bids_sexclf.interfaces.eddy import (
    EddyFiles,
    FoundEddy,
    ReadEddyMotion,
    encoding_row,
    find_eddy,
)

DENOISED = {
    "mppca": (
        "Thermal noise of diffusion series of ten volumes or more was removed by Marchenko-Pastur "
        "PCA [@veraart2016]."
    ),
    "patch2self": (
        "Thermal noise of diffusion series of ten volumes or more was removed by Patch2Self "
        "[@fadnavis2020]."
    ),
    "none": "Diffusion series were not denoised.",
}
_SHIFTS = (
    "Gibbs ringing inside slices was suppressed by local subvoxel shifts [@kellner2016]{}, which "
    "presumes k-space without partial Fourier or zero filling and removes such ringing in part "
    "only."
)
UNRUNG = {
    "native": _SHIFTS.format(""),
    "dipy": _SHIFTS.format(" as in dipy [@garyfallidis2014]"),
    "none": "Gibbs ringing was left as it was.",
}
ALIGNED = {
    "ants": (
        "Each diffusion-weighted volume was registered ({kind}) with its prediction from all "
        "others by a Gaussian process over directions and b-values "
        "[@andersson2015; @andersson2016], b=0 volumes rigidly with their mean, and the mean of "
        "each shell rigidly with that of b=0 by mutual information; b-vectors were turned along "
        "[@leemans2009]."
    ),
    "fsl": (
        "Head motion and eddy currents were corrected by FSL's eddy with outlier replacement "
        "[@andersson2016], which turns b-vectors along."
    ),
    "none": "Diffusion volumes were not aligned with each other.",
}
ONCE = {
    "ants": "Every volume was resampled once, by cubic B-splines.",
    "fsl": (
        "A correction of distortion resamples what eddy gives a second time, by cubic B-splines."
    ),
    "none": "",
}
UNBIASED = {
    "n4": (
        "The bias field that N4 found on the mean b=0 volume [@tustison2010] was divided "
        "out of all volumes."
    ),
    "none": "",
}
RECORDS = ("noise_record", "gibbs_record", "distortion_record", "pool_record")
"""Outputs that describe single steps; several series share one."""

MASKED = (
    "The brain was masked on the mean b=0 volume (median Otsu, thin bridges to eyes and face cut), "
    "but for what a tenth of the volumes had outside their field of view."
)


def describe(provenance):
    """Write the methods sentences of a diffusion series.

    Parameters
    ----------
    provenance : dict
        The choices of `settings.Preparation`.

    Returns
    -------
    str
    """
    kind = provenance["dwi_alignment"]
    engine = "none" if kind == "none" else provenance["eddy_engine"]
    model = "rigid"
    if kind == "affine":
        model = (
            "rigid, with shear and stretch along the phase-encoding axis, or affine where unknown"
        )
    sentences = [
        DENOISED[provenance["denoise"]],
        UNRUNG[provenance["gibbs"]],
        ALIGNED[engine].format(kind=model),
        ONCE[engine],
        UNBIASED[provenance["dwi_bias"]],
        MASKED,
    ]
    return " ".join(filter(None, sentences))


def init_dwi_wf(
    *,
    preparation,
    metadata=None,
    series_gb=0.5,
    motion_gb=2.5,
    distortion_wf=None,
    threads=1,
    name="dwi_wf",
):
    """Build the workflow from a raw diffusion series to an aligned one with its mask.

    Parameters
    ----------
    preparation : settings.Preparation
    metadata : dict, optional
        The sidecar of the series: its phase-encoding and slice axes.
    series_gb : float
        Size of the series as float32, GB, by which memory is planned.
    motion_gb : float
        As `series.motion_gb` returns it; FSL's eddy is planned by `series_gb`.
    distortion_wf : nipype.pipeline.engine.Workflow, optional
        As `distortion.init_distortion_wf` returns it; without one, nothing is undistorted.
    threads : int
    name : str

    Returns
    -------
    nipype.pipeline.engine.Workflow
        *Inputs*: dwi, bval, bvec; t1w_brain, where distortion is found by it. *Outputs*: dwi, bval,
        bvec, b0, b0_brain, mask, motion; and where those steps run noise_residual and
        gibbs_residual, b0_distorted and warp, and the records that `list_records` names.
    """
    metadata = metadata or {}
    inputnode = Node(IdentityInterface(fields=["dwi", "bval", "bvec", "t1w_brain"]), "inputnode")
    outputs = ["dwi", "bval", "bvec", "b0", "b0_brain", "mask", "motion", "noise_residual"]
    outputs += ["gibbs_residual", "b0_distorted", "warp", *RECORDS]
    outputnode = Node(IdentityInterface(fields=outputs), "outputnode")
    workflow = Workflow(name)
    workflow.add_nodes([inputnode, outputnode])
    resample = Node(
        ResampleSeries(threads=threads), "resample", mem_gb=0.5 + series_gb / 4, n_procs=threads
    )
    sizes = {"series_gb": series_gb, "motion_gb": motion_gb, "threads": threads}
    aligned = connect_alignment(workflow, resample, preparation, metadata, **sizes)
    mask = Node(MaskB0(), "mask", mem_gb=0.5)
    mean, field = aligned
    if distortion_wf is not None:
        mean, field = _connect_distortion(workflow, aligned, resample, distortion_wf)
    if preparation.dwi_bias == "n4":
        bias = Node(FindBias(), "bias", mem_gb=0.5, n_procs=threads)
        workflow.connect([(mean, bias, [(field, "in_file")])])
        workflow.connect([(mask, bias, [("mask_file", "mask")])])
        workflow.connect([(bias, resample, [("out_file", "bias")])])
    fields = [("out_file", "dwi"), *((name, name) for name in ("b0", "b0_brain", "mask"))]
    workflow.connect(
        [
            (inputnode, resample, [("bval", "bval")]),
            (inputnode, outputnode, [("bval", "bval")]),
            (mean, mask, [(field, "in_file")]),
            (mask, resample, [("mask_file", "mask")]),
            (resample, outputnode, fields),
        ]
    )
    return workflow


def connect_alignment(workflow, resample, preparation, metadata, *, series_gb, motion_gb, threads):
    """Wire the steps that estimate where each volume of a raw series lies.

    Parameters
    ----------
    workflow : nipype.pipeline.engine.Workflow
        With an inputnode (dwi, bval, bvec) and an outputnode.
    resample : nipype.pipeline.engine.Node
        Takes in_file, and matrices from our own alignment.
    preparation : settings.Preparation
    metadata : dict
    series_gb, motion_gb : float
    threads : int

    Returns
    -------
    node : nipype.pipeline.engine.Node
    field : str
        Its output that holds the mean of the aligned b0 volumes.
    """
    series = _connect_noise(workflow, preparation, metadata, series_gb, threads)
    steps = (workflow, series, resample, preparation, metadata)
    if uses_eddy(preparation):
        return _connect_eddy(*steps, series_gb, threads)
    return _connect_estimate(*steps, motion_gb, threads)


def check_tools(preparation):
    """Refuse an engine whose program is not installed.

    Parameters
    ----------
    preparation : settings.Preparation

    Raises
    ------
    ToolError
        If FSL's eddy is chosen and not on the PATH.
    """
    if uses_eddy(preparation):
        find_eddy()


def list_records(workflow):
    """List the outputs of a diffusion workflow that go into the quality file.

    Parameters
    ----------
    workflow : nipype.pipeline.engine.Workflow

    Returns
    -------
    list of str
    """
    return [field for field in RECORDS if field in list_made(workflow)]


def list_made(workflow):
    """List the outputs of a workflow that one of its steps writes.

    Parameters
    ----------
    workflow : nipype.pipeline.engine.Workflow

    Returns
    -------
    set of str
    """
    edges = workflow._graph.in_edges(workflow.get_node("outputnode"), data=True)
    return {field for _, _, data in edges for _, field in data["connect"]}


def uses_eddy(preparation):
    """Return whether FSL's eddy is chosen."""
    return preparation.eddy_engine == "fsl" and preparation.dwi_alignment != "none"


def _connect_noise(workflow, preparation, metadata, series_gb, threads):
    """Wire denoising and unringing; return the node and the output that hold the result."""
    inputnode, outputnode = workflow.get_node("inputnode"), workflow.get_node("outputnode")
    series = (inputnode, "dwi")
    if preparation.denoise != "none":
        copies = 4 if preparation.denoise == "patch2self" else 2
        denoise = Node(
            Denoise(method=preparation.denoise, seed=preparation.random_seed, threads=threads),
            "denoise",
            mem_gb=0.5 + copies * series_gb,
            n_procs=threads,
        )
        gradients = [("dwi", "in_file"), ("bval", "bval"), ("bvec", "bvec")]
        reports = [("residual", "noise_residual"), ("record", "noise_record")]
        workflow.connect([(inputnode, denoise, gradients), (denoise, outputnode, reports)])
        series = (denoise, "out_file")
    if preparation.gibbs != "none":
        degibbs = Node(
            Degibbs(
                engine=preparation.gibbs,
                slice_axis="ijk".index(str(metadata.get("SliceEncodingDirection") or "k")[0]),
                partial_fourier=float(metadata.get("PartialFourier") or 1),
                threads=threads,
            ),
            "degibbs",
            mem_gb=0.5 + series_gb / 4,
            n_procs=threads,
        )
        reports = [("residual", "gibbs_residual"), ("record", "gibbs_record")]
        workflow.connect([(series[0], degibbs, [(series[1], "in_file")])])
        workflow.connect([(degibbs, outputnode, reports)])
        series = (degibbs, "out_file")
    return series


def _connect_estimate(workflow, series, resample, preparation, metadata, motion_gb, threads):
    """Wire our own estimate of motion; return node and output of the aligned mean b0."""
    # Shear and stretch need the axis only; some scanners record no sign.
    names = ("PhaseEncodingDirection", "PhaseEncodingAxis")
    direction = next((str(metadata[name]) for name in names if metadata.get(name)), "")
    estimate = Node(
        EstimateMotion(
            kind=preparation.dwi_alignment,
            axis="ijk".index(direction[0]) if direction[:1] in ("i", "j", "k") else None,
            sloppy=preparation.sloppy,
            seed=preparation.random_seed,
            threads=threads,
        ),
        "estimate",
        mem_gb=0.5 + motion_gb,
        n_procs=threads,
    )
    inputnode, outputnode = workflow.get_node("inputnode"), workflow.get_node("outputnode")
    workflow.connect(
        [
            (series[0], estimate, [(series[1], "in_file")]),
            (inputnode, estimate, [("bval", "bval"), ("bvec", "bvec")]),
            (series[0], resample, [(series[1], "in_file")]),
            (estimate, resample, [("matrices", "matrices")]),
            (estimate, outputnode, [("bvec", "bvec"), ("motion", "motion")]),
        ]
    )
    return estimate, "b0"


def _connect_eddy(workflow, series, resample, preparation, metadata, series_gb, threads):
    """Wire FSL's eddy; return node and output of the aligned mean b0."""
    mean_raw = Node(MeanB0(), "mean_raw", mem_gb=0.5)
    mask_raw = Node(MaskB0(), "mask_raw", mem_gb=0.5)
    files = Node(EddyFiles(row=encoding_row(metadata)), "files", mem_gb=0.1)
    eddy = Node(
        FoundEddy(
            repol=True,
            num_threads=threads,
            args=f"--initrand={preparation.random_seed}",
        ),
        "eddy",
        mem_gb=1 + 6 * series_gb,
        n_procs=threads,
    )
    motion = Node(ReadEddyMotion(), "motion", mem_gb=0.1)
    mean = Node(MeanB0(), "mean", mem_gb=0.5)
    inputnode, outputnode = workflow.get_node("inputnode"), workflow.get_node("outputnode")
    workflow.connect(
        [
            (series[0], mean_raw, [(series[1], "in_file")]),
            (inputnode, mean_raw, [("bval", "bval")]),
            (mean_raw, mask_raw, [("out_file", "in_file")]),
            (inputnode, files, [("bval", "bval")]),
            (series[0], eddy, [(series[1], "in_file")]),
            (inputnode, eddy, [("bval", "in_bval"), ("bvec", "in_bvec")]),
            (mask_raw, eddy, [("mask_file", "in_mask")]),
            (files, eddy, [("acqp", "in_acqp"), ("index", "in_index")]),
            (eddy, motion, [("out_restricted_movement_rms", "in_file")]),
            (eddy, mean, [("out_corrected", "in_file")]),
            (inputnode, mean, [("bval", "bval")]),
            (eddy, resample, [("out_corrected", "in_file")]),
            (eddy, outputnode, [("out_rotated_bvecs", "bvec")]),
            (motion, outputnode, [("out_file", "motion")]),
        ]
    )
    return mean, "out_file"


def _connect_distortion(workflow, aligned, resample, distortion_wf):
    """Wire a correction of distortion; return node and output of the undistorted mean b0."""
    mask_distorted = Node(MaskB0(), "mask_distorted", mem_gb=0.5)
    inputnode, outputnode = workflow.get_node("inputnode"), workflow.get_node("outputnode")
    reports = [("outputnode.warp", "warp"), ("outputnode.record", "distortion_record")]
    workflow.connect(
        [
            (aligned[0], mask_distorted, [(aligned[1], "in_file")]),
            (aligned[0], distortion_wf, [(aligned[1], "inputnode.b0")]),
            (mask_distorted, distortion_wf, [("mask_file", "inputnode.mask")]),
            (inputnode, distortion_wf, [("t1w_brain", "inputnode.t1w_brain")]),
            (
                distortion_wf,
                resample,
                [(f"outputnode.{name}", name) for name in ("warp", "jacobian")],
            ),
            (aligned[0], outputnode, [(aligned[1], "b0_distorted")]),
            (distortion_wf, outputnode, reports),
        ]
    )
    return distortion_wf, "outputnode.b0"
