"""Pool the diffusion series of one session.

Each part (the series of one phase encoding) is denoised, unrung, aligned and undistorted
separately. Two parts of opposite encodings share one field. The mean b0 volumes of all parts are
then aligned, and every volume is resampled once.
"""

from pathlib import Path

from nipype.interfaces.utility import IdentityInterface, Merge
from nipype.pipeline.engine import Node, Workflow

from bids_sexclf.interfaces.diffusion import FindBias, MaskB0, ResampleSeries
from bids_sexclf.interfaces.given import TakeSeries
from bids_sexclf.interfaces.pool import AlignParts, JoinRecords, JoinResiduals, PoolSeries
from bids_sexclf.participant.distortion import init_correction_wf, init_mirrored_wf
from bids_sexclf.participant.dwi import RECORDS, connect_alignment, list_records, uses_eddy

JOINED = (
    "The diffusion series of a session that share grid and echo time were pooled: those of one "
    "phase encoding were joined before any step, and each was scaled to the signal of the first at "
    "b=0."
)
ALIGNED = (
    "Those of different phase encodings were processed each for itself, and aligned rigidly by "
    "their undistorted mean b=0 volumes."
)

RESIDUALS = {"noise_record": "noise_residual", "gibbs_record": "gibbs_residual"}
"""Record of a step to the picture of its residual."""


def describe(numbers=None):
    """Write the methods sentences of pooled series.

    Parameters
    ----------
    numbers : dict, optional
        What the quality file holds.

    Returns
    -------
    str
    """
    aligned = len((numbers or {}).get("parts", [])) > 1
    return " ".join([JOINED, ALIGNED] if aligned else [JOINED])


def init_pooled_dwi_wf(*, files, parts, preparation, sizes, threads=1, name="dwi_wf"):
    """Build the workflow that makes one aligned series with its mask from several raw series.

    Parameters
    ----------
    files : dict of str to list of path-like
        ``dwi``, ``bval`` and ``bvec``.
    parts : list of series.Part
    preparation : settings.Preparation
    sizes : dict of str to list of float
        ``series_gb`` and ``motion_gb`` of each file, GB, by which memory is planned.
    threads : int
    name : str

    Returns
    -------
    nipype.pipeline.engine.Workflow
        *Inputs*: t1w_brain, where distortion is found by it. *Outputs*: as of `dwi.init_dwi_wf`,
        with one record of all steps, and the warps of all parts (ANTs displacement fields from the
        pooled series to the mean b0 of each part as scanned).
    """
    inputnode = Node(IdentityInterface(fields=["t1w_brain"]), "inputnode")
    outputs = ["dwi", "bval", "bvec", "b0", "b0_brain", "mask", "motion", "noise_residual"]
    outputs += ["gibbs_residual", "b0_distorted", "warps", "pool_record"]
    outputnode = Node(IdentityInterface(fields=outputs), "outputnode")
    workflow = Workflow(name)
    workflow.add_nodes([inputnode, outputnode])
    takes = [_take(files, part, number) for number, part in enumerate(parts, start=1)]
    part_wfs = []
    for number, (part, take) in enumerate(zip(parts, takes, strict=True), start=1):
        size = {
            key: sum(gigabytes[index] for index in part.files) for key, gigabytes in sizes.items()
        }
        part_wfs.append(init_part_wf(
            preparation=preparation, metadata=part.metadata, threads=threads,
            name=f"part{number}_wf", **size,
        ))  # fmt: skip
        inputs = [(kind, f"inputnode.{kind}") for kind in ("dwi", "bval", "bvec")]
        workflow.connect([(take, part_wfs[-1], inputs)])
    warp_wfs = _connect_distortions(workflow, parts, part_wfs, preparation, threads)
    total_gb = sum(sizes["series_gb"])
    _connect_pool(workflow, parts, takes, part_wfs, warp_wfs, preparation, threads, total_gb)
    _connect_records(workflow, files, parts, takes, part_wfs, warp_wfs)
    return workflow


def init_part_wf(*, preparation, metadata, series_gb, motion_gb, threads, name):
    """Build the workflow of one part, up to the estimated positions of its volumes.

    Parameters
    ----------
    preparation : settings.Preparation
    metadata : dict
        The sidecar of the part's first series.
    series_gb, motion_gb : float
    threads : int
    name : str

    Returns
    -------
    nipype.pipeline.engine.Workflow
        *Inputs*: dwi, bval, bvec. *Outputs*: in_file and matrices, for the resampling; bvec,
        motion, b0 (the mean as scanned); and residuals and records of the steps that run.
    """
    inputnode = Node(IdentityInterface(fields=["dwi", "bval", "bvec"]), "inputnode")
    outputs = ["bvec", "motion", "b0", "noise_residual", "gibbs_residual", *RECORDS]
    outputnode = Node(IdentityInterface(fields=[*outputs, "in_file", "matrices"]), "outputnode")
    workflow = Workflow(name)
    workflow.add_nodes([inputnode, outputnode])
    sizes = {"series_gb": series_gb, "motion_gb": motion_gb, "threads": threads}
    mean, field = connect_alignment(workflow, outputnode, preparation, metadata, **sizes)
    workflow.connect([(mean, outputnode, [(field, "b0")])])
    return workflow


def _take(files, part, number):
    """Return the node that joins the series of a part."""
    take = Node(TakeSeries(), f"take{number}", mem_gb=0.5)
    part_files = {
        kind: [str(paths[index]) for index in part.files] for kind, paths in files.items()
    }
    take.inputs.trait_set(
        in_files=part_files["dwi"], bvals=part_files["bval"], bvecs=part_files["bvec"]
    )
    return take


def _connect_distortions(workflow, parts, part_wfs, preparation, threads):
    """Wire the corrections of distortion; return the workflow of each part, None without one."""
    inputnode, warp_wfs = workflow.get_node("inputnode"), []
    for number, (part, part_wf) in enumerate(zip(parts, part_wfs, strict=True), start=1):
        name, partner = f"distortion{number}_wf", part.partner
        if not part.corrected:
            warp_wfs.append(None)
            continue
        shares = partner is not None and part.distortion.method == "opposite"
        if shares and partner < number - 1:
            wf = init_mirrored_wf(part.distortion, name=name)
            fields = [("opposite_shift", "shift"), ("record", "record")]
            ends = [(f"outputnode.{field}", f"inputnode.{to}") for field, to in fields]
            workflow.connect([(warp_wfs[partner], wf, ends)])
        else:
            wf = init_correction_wf(
                part.distortion, preparation=preparation, threads=threads,
                alone=partner is None, name=name,
            )  # fmt: skip
            if partner is not None:
                opposite = [("outputnode.b0", "inputnode.opposite")]
                workflow.connect([(part_wfs[partner], wf, opposite)])
            if part.distortion.method == "t1w":
                mask = Node(MaskB0(), f"mask{number}", mem_gb=0.5)
                workflow.connect([(part_wf, mask, [("outputnode.b0", "in_file")])])
                workflow.connect([(mask, wf, [("mask_file", "inputnode.mask")])])
                workflow.connect([(inputnode, wf, [("t1w_brain", "inputnode.t1w_brain")])])
        workflow.connect([(part_wf, wf, [("outputnode.b0", "inputnode.b0")])])
        warp_wfs.append(wf)
    return warp_wfs


def _connect_pool(workflow, parts, takes, part_wfs, warp_wfs, preparation, threads, total_gb):
    """Wire the alignment of the parts, their resampling and their joining."""
    align = Node(AlignParts(seed=preparation.random_seed, sloppy=preparation.sloppy), "align",
                 mem_gb=1)  # fmt: skip
    undistorted = [wf or part_wf for wf, part_wf in zip(warp_wfs, part_wfs, strict=True)]
    _gather(workflow, "b0s", [(wf, "outputnode.b0") for wf in undistorted], align, "b0s")
    mask = Node(MaskB0(), "mask", mem_gb=0.5)
    pool = Node(PoolSeries(), "pool", mem_gb=0.5 + total_gb / 8)
    workflow.connect([(align, mask, [("b0", "in_file")]), (align, pool, [("poses", "poses")])])
    bias = None
    if preparation.dwi_bias == "n4":
        bias = Node(FindBias(), "bias", mem_gb=0.5, n_procs=threads)
        workflow.connect(
            [(align, bias, [("b0", "in_file")]), (mask, bias, [("mask_file", "mask")])]
        )
    resampled = []
    triples = zip(takes, part_wfs, warp_wfs, strict=True)
    for number, (take, part_wf, wf) in enumerate(triples, start=1):
        resample = Node(
            ResampleSeries(threads=threads),
            f"resample{number}",
            mem_gb=0.5 + total_gb / 4,
            n_procs=threads,
        )
        moves = [] if uses_eddy(preparation) else [("outputnode.matrices", "matrices")]
        workflow.connect(
            [
                (part_wf, resample, [("outputnode.in_file", "in_file"), *moves]),
                (take, resample, [("bval", "bval")]),
                (mask, resample, [("mask_file", "mask")]),
                (align, resample, [(("poses", _pick, number - 1), "pose")]),
            ]
        )
        if wf is not None:
            fields = [(f"outputnode.{field}", field) for field in ("warp", "jacobian")]
            workflow.connect([(wf, resample, fields)])
        if bias is not None:
            workflow.connect([(bias, resample, [("out_file", "bias")])])
        resampled.append(resample)
    gathered = {
        "in_files": [(node, "out_file") for node in resampled],
        "masks": [(node, "mask") for node in resampled],
        "bvals": [(take, "bval") for take in takes],
        "bvecs": [(part_wf, "outputnode.bvec") for part_wf in part_wfs],
        "motions": [(part_wf, "outputnode.motion") for part_wf in part_wfs],
        "counts": [(take, "counts") for take in takes],
    }
    if not uses_eddy(preparation):
        gathered["matrices"] = [(part_wf, "outputnode.matrices") for part_wf in part_wfs]
    for field, sources in gathered.items():
        _gather(workflow, field, sources, pool, field)
    outputnode = workflow.get_node("outputnode")
    outputs = ("dwi", "bval", "bvec", "b0", "b0_brain", "mask", "motion")
    workflow.connect([(pool, outputnode, [(field, field) for field in outputs])])
    if any(warp_wfs):
        corrected = [node for node, wf in zip(resampled, warp_wfs, strict=True) if wf is not None]
        _gather(workflow, "warps", [(node, "warp") for node in corrected], outputnode, "warps")
        first = next(
            part_wf for part_wf, wf in zip(part_wfs, warp_wfs, strict=True) if wf is not None
        )
        workflow.connect([(first, outputnode, [("outputnode.b0", "b0_distorted")])])


def _connect_records(workflow, files, parts, takes, part_wfs, warp_wfs):
    """Wire the records of single steps into one record, and the residuals into pictures."""
    outputnode = workflow.get_node("outputnode")
    descriptions = [
        {
            "series": [Path(files["dwi"][index]).name for index in part.files],
            "phase_encoding": part.metadata.get("PhaseEncodingDirection"),
            "echo_time": part.metadata.get("EchoTime"),
            "why": part.distortion.why if part.corrected else "",
        }
        for part in parts
    ]
    records = Node(JoinRecords(parts=descriptions), "records", mem_gb=0.1)
    align, pool = workflow.get_node("align"), workflow.get_node("pool")
    workflow.connect([(align, records, [("record", "aligned")])])
    workflow.connect([(pool, records, [("record", "pooled")])])
    workflow.connect([(records, outputnode, [("record", "pool_record")])])
    steps = []
    for number, (part_wf, wf) in enumerate(zip(part_wfs, warp_wfs, strict=True), start=1):
        sources = [(part_wf, f"outputnode.{field}") for field in list_records(part_wf)]
        sources += [(wf, "outputnode.record")] if wf is not None else []
        if sources:
            merge = Node(Merge(len(sources)), f"steps{number}", run_without_submitting=True)
            for index, (node, field) in enumerate(sources, start=1):
                workflow.connect(node, field, merge, f"in{index}")
            steps.append((merge, "out"))
    if len(steps) == len(parts):
        _gather(workflow, "steps", steps, records, "steps")
    for record, residual in RESIDUALS.items():
        if all(record in list_records(part_wf) for part_wf in part_wfs):
            join = Node(JoinResiduals(), residual, mem_gb=0.5)
            merge = [(part_wf, f"outputnode.{residual}") for part_wf in part_wfs]
            _gather(workflow, f"{residual}s", merge, join, "in_files")
            counted = [(take, "bval") for take in takes]
            _gather(workflow, f"{residual}_bvals", counted, join, "bvals")
            workflow.connect([(join, outputnode, [("out_file", residual)])])


def _gather(workflow, name, sources, node, field):
    """Wire one output of each of several nodes as a list into one input."""
    merge = Node(
        Merge(len(sources), no_flatten=True), f"gather_{name}", run_without_submitting=True
    )
    for index, (source, output) in enumerate(sources, start=1):
        workflow.connect(source, output, merge, f"in{index}")
    workflow.connect(merge, "out", node, field)


def _pick(paths, index):
    return paths[index] if isinstance(paths, list) else paths
