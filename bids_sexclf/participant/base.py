"""The workflow of one participant-session: from its scans to its derivatives."""

import os

from nipype.interfaces.utility import Merge
from nipype.pipeline.engine import Node, Workflow

from bids_sexclf.derivatives.offers import about
from bids_sexclf.derivatives.prepared import as_uri, scans_of, take_over
from bids_sexclf.interfaces.given import TakeSeries, UniteRuns
from bids_sexclf.interfaces.images import Quality
from bids_sexclf.interfaces.pictures import (
    DrawFlicker,
    DrawOutline,
    DrawTissues,
)
from bids_sexclf.layout import figure_name, name_of
from bids_sexclf.participant.choices import (
    SERIES,
    choose_anat_wf,
    choose_dwi_wf,
    choose_register_wf,
)
from bids_sexclf.participant.coverage import connect_dwi_coverage, connect_t1w_coverage
from bids_sexclf.participant.drawings import draw_dwi, draw_series, first_path
from bids_sexclf.participant.dwi import list_records
from bids_sexclf.participant.given import (
    init_given_maps_wf,
    init_given_register_wf,
)
from bids_sexclf.participant.index import connect_thumbnails
from bids_sexclf.participant.maps import init_maps_wf
from bids_sexclf.participant.morphometry import init_morphometry_wf
from bids_sexclf.participant.native import init_native_wf
from bids_sexclf.participant.outputs import WriteDerivatives
from bids_sexclf.participant.register import choose_route
from bids_sexclf.participant.series import images_of, parts_of
from bids_sexclf.volumes import knows_sides


def wf_name(participant_id, session_id=None):
    """Name the workflow of one participant-session; node names allow no dash."""
    return name_of(participant_id, session_id).replace("-", "_") + "_wf"


def init_participant_wf(
    *,
    row,
    root,
    out,
    template,
    references,
    preparation,
    atlases=(),
    threads=1,
    derivatives=None,
):
    """Build the workflow that makes the derivatives of one participant-session.

    Parameters
    ----------
    row : dict
        Of the worklist; paths relative to `root`, or BIDS URIs into `derivatives`.
    root : path-like
        The dataset.
    out : path-like
        Output folder.
    template : resources.Template
    references : dict of str to path-like
        Images on the group grid, keys of `layout.REFERENCES`.
    preparation : settings.Preparation
    atlases : list of path-like
        Images in the template's space, each with its label table beside it.
    threads : int
    derivatives : dict of str to path-like, optional
        Folders of what others have prepared.

    Returns
    -------
    nipype.pipeline.engine.Workflow
    """
    record = take_over(row, {"raw": root} | (derivatives or {}), preparation.template)
    route = choose_route(record, preparation.provenance())
    workflow = Workflow(wf_name(row["participant_id"], row["session_id"]))
    common = {"preparation": preparation, "threads": threads}
    places = {"template": template, "grid_file": references["brain"]}
    write = Node(
        _writer(row, record, root=root, out=out, preparation=preparation, route=route),
        "write",
        mem_gb=0.5,
        run_without_submitting=False,
    )
    quality = Node(
        Quality(
            template=references["brain"],
            template_mask=references["mask"],
            white=references["white"],
            facts={"orientation_known": float(_knows_sides(record))},
        ),
        "quality",
        mem_gb=0.5,
    )
    workflow.connect([(quality, write, [("out_file", "quality")])])
    anat_wf, pictures, cuts = None, [], 2 if preparation.sloppy else 5
    if record.t1w:
        maps = {"tissue_maps": [references[kind] for kind in ("grey_share", "white_share")]}
        anat_wf = choose_anat_wf(record, **places, **common, **maps)
        _feed_t1w(workflow, anat_wf, write, record, preparation)
        pictures += _connect_anat(workflow, anat_wf, quality, write, references, cuts=cuts)
        connect_t1w_coverage(workflow, anat_wf, quality, write, references["brain"])
        pictures += _connect_native(
            workflow, anat_wf, quality, write, row=row, atlases=atlases, cuts=cuts, **places,
            **common, **maps,
        )  # fmt: skip
    if record.maps:
        pictures += _connect_maps(workflow, anat_wf, write, record, references, cuts=cuts)
    elif record.dwi:
        register_wf = choose_register_wf(route, **places, **common)
        pictures += _connect_series(
            workflow, anat_wf, quality, write, record=record, row=row, references=references,
            cuts=cuts, register_wf=register_wf, route=route, **common,
        )  # fmt: skip
    gather = Node(Merge(len(pictures) + bool(record.t1w)), "gather", run_without_submitting=True)
    session_key = (row["participant_id"], row["session_id"])
    write.inputs.figure_names = [figure_name(*session_key, key) for key, _ in pictures]
    for index, (_, node) in enumerate(pictures, start=1):
        workflow.connect(node, "out_file", gather, f"in{index}")
    workflow.connect(gather, "out", write, "figures")
    if record.t1w:
        connect_thumbnails(
            workflow, anat_wf, gather, write, references, len(pictures) + 1, session_key
        )
    _set_b0_threshold(workflow, preparation.b0_threshold)
    return workflow


def _writer(row, record, *, root, out, preparation, route):
    """Return the interface that writes the derivatives and the list of their inputs."""
    correctors = images_of({"parts": parts_of(row)})
    return WriteDerivatives(
        out=str(out),
        participant_id=row["participant_id"],
        session_id=row["session_id"],
        sources=scans_of(row),
        note=row.get("note") or "",
        correctors=[as_uri(os.path.relpath(path, root)) for path in correctors],
        acquisition=row.get("acquisition") or {},
        taken_over={step: about(name)["title"] for step, name in record.done.items()},
        provenance=preparation.provenance(),
        route=route,
        sides_known=_knows_sides(record),
    )


def _knows_sides(record):
    """Return whether the headers of all scans tell left from right."""
    return all(map(knows_sides, (*record.t1w, *record.dwi, *record.maps.values())))


def _feed_t1w(workflow, anat_wf, write, record, preparation):
    """Wire the T1w into its workflow; average several runs first."""
    if len(record.t1w) == 1:
        anat_wf.inputs.inputnode.t1w = str(record.t1w[0])
        return
    unite = Node(
        UniteRuns(
            in_files=[str(path) for path in record.t1w],
            how=preparation.t1w_runs,
            seed=preparation.random_seed,
        ),
        "unite",
        mem_gb=1,
    )
    workflow.connect([(unite, anat_wf, [("out_file", "inputnode.t1w")])])
    workflow.connect([(unite, write, [("record", "runs")])])


def _series(record):
    """Return a node that hands out a series, its b-values and b-vectors."""
    files = {kind: [str(path) for path in getattr(record, kind)] for kind in SERIES}
    take = Node(TakeSeries(), "take_series", mem_gb=0.5)
    take.inputs.trait_set(in_files=files["dwi"], bvals=files["bval"], bvecs=files["bvec"])
    return take


def _set_b0_threshold(workflow, b0_threshold):
    """Set the b-value below which a volume counts as b=0, in every step that needs it."""
    for name in workflow.list_node_names():
        node = workflow.get_node(name)
        if "b0_threshold" in node.inputs.copyable_trait_names():
            node.inputs.b0_threshold = b0_threshold


def _connect_anat(workflow, anat_wf, quality, write, references, *, cuts):
    """Wire the workflow of the T1w; return its pictures."""
    t1wmask = Node(DrawOutline(cuts=cuts), "t1wmask", mem_gb=0.5)
    t1wtemplate = Node(
        DrawFlicker(
            cuts=cuts,
            fixed=references["brain"],
            outline=references["mask"],
            labels=("template", "participant"),
        ),
        "t1wtemplate",
        mem_gb=0.5,
    )
    workflow.connect(
        [
            (
                anat_wf,
                quality,
                [
                    ("outputnode.mask", "mask"),
                    ("outputnode.t1w_template", "registered"),
                    ("outputnode.evidence", "evidence"),
                ],
            ),
            (
                anat_wf,
                write,
                [
                    (f"outputnode.{field}", field)
                    for field in (
                        "t1w",
                        "mask",
                        "t1w_template",
                        "mask_template",
                        "forward",
                        "inverse",
                        "about",
                    )
                ],
            ),
            (anat_wf, t1wmask, [("outputnode.t1w", "background"), ("outputnode.mask", "mask")]),
            (anat_wf, t1wtemplate, [("outputnode.t1w_template", "moved")]),
        ]
    )
    return [("t1wmask", t1wmask), ("t1wtemplate", t1wtemplate)]


def _connect_native(
    workflow, anat_wf, quality, write, *, row, template, grid_file, tissue_maps, atlases, cuts,
    preparation, threads,
):  # fmt: skip
    """Wire the steps in the space of the T1w: linear registrations, tissues and regions."""
    native_wf = init_native_wf(template=template, grid_file=grid_file, preparation=preparation)
    morphometry_wf = init_morphometry_wf(
        atlases=atlases, preparation=preparation, tissue_maps=tissue_maps
    )
    borders = Node(DrawTissues(cuts=cuts), "tissueborders", mem_gb=0.5)
    morphometry_wf.inputs.inputnode.participant_id = row["participant_id"]
    morphometry_wf.inputs.inputnode.session_id = row["session_id"]
    linear = ("t1w_acpc", "mask_acpc", "acpc_transform", "t1w_affine", "affine_transform")
    measured = ("dseg", "probsegs", *(["tables"] if atlases else []))
    workflow.connect(
        [
            (
                anat_wf,
                native_wf,
                [
                    (f"outputnode.{field}", f"inputnode.{field}")
                    for field in ("brain", "mask", "forward")
                ],
            ),
            (
                anat_wf,
                morphometry_wf,
                [
                    (f"outputnode.{field}", f"inputnode.{field}")
                    for field in ("t1w", "mask", "inverse")
                ],
            ),
            (native_wf, write, [(f"outputnode.{field}", field) for field in linear]),
            (morphometry_wf, write, [(f"outputnode.{field}", field) for field in measured]),
            (morphometry_wf, quality, [("outputnode.volumes", "volumes")]),
            (anat_wf, borders, [("outputnode.t1w", "in_file"), ("outputnode.mask", "mask")]),
            (morphometry_wf, borders, [("outputnode.probsegs", "probabilities")]),
        ]
    )
    return [("tissueborders", borders)]


def _connect_series(
    workflow, anat_wf, quality, write, *, record, row, references, cuts, register_wf, route,
    preparation, threads,
):  # fmt: skip
    """Wire the workflow of the diffusion series, from scans to maps; return its pictures."""
    through = anat_wf if route in ("t1w", "aligned") else None
    dwi_wf = choose_dwi_wf(record, row=row, preparation=preparation, threads=threads)
    maps_wf = init_maps_wf(preparation=preparation, threads=threads)
    _feed_dwi(workflow, dwi_wf, quality, write, record=record, row=row, anat_wf=anat_wf)
    _connect_dwi(workflow, through, dwi_wf, maps_wf, register_wf, quality, write)
    connect_dwi_coverage(workflow, dwi_wf, register_wf, quality, write)
    aligned = route == "aligned"
    pictures = draw_dwi(
        workflow, through, dwi_wf, register_wf, references, cuts=cuts, aligned=aligned
    )
    return pictures + draw_series(
        workflow, dwi_wf, maps_wf, quality, models=preparation.dwi_models, cuts=cuts
    )


def _feed_dwi(workflow, dwi_wf, quality, write, *, record, row, anat_wf):
    """Wire the series into its workflow, and the records of its steps into the quality file."""
    pooled = len(record.dwi) > 1 and not record.dwi_done
    if not pooled:  # the workflow of several series reads them itself
        series = _series(record)
        workflow.connect([(series, dwi_wf, [(kind, f"inputnode.{kind}") for kind in SERIES])])
    if record.dwi_done:  # a series that others have prepared lies on disk already
        return
    workflow.connect([(dwi_wf, write, [(f"outputnode.{kind}", kind) for kind in SERIES])])
    parts = parts_of(row)
    if any(part.corrected and part.distortion.method == "t1w" for part in parts):
        workflow.connect([(anat_wf, dwi_wf, [("outputnode.brain", "inputnode.t1w_brain")])])
    if any(part.corrected for part in parts):
        warp = ("warps", "distortion_warps") if pooled else ("warp", "distortion_warp")
        workflow.connect([(dwi_wf, write, [(f"outputnode.{warp[0]}", warp[1])])])
    record_fields = list_records(dwi_wf)
    if record_fields:
        records = Node(Merge(len(record_fields)), "records", run_without_submitting=True)
        workflow.connect([(records, quality, [("out", "records")])])
        for index, field in enumerate(record_fields, start=1):
            workflow.connect(dwi_wf, f"outputnode.{field}", records, f"in{index}")


def _connect_dwi(workflow, anat_wf, dwi_wf, maps_wf, register_wf, quality, write):
    """Wire an aligned series to its maps on the group grid."""
    aligned = [(f"outputnode.{field}", f"inputnode.{field}") for field in (*SERIES, "mask")]
    masked = [(f"outputnode.{field}", f"inputnode.{field}") for field in ("b0_brain", "mask")]
    carried = [("outputnode.maps", "maps_template"), ("outputnode.transform", "dwi_transform")]
    workflow.connect(
        [
            (dwi_wf, maps_wf, aligned),
            (dwi_wf, register_wf, masked),
            (maps_wf, register_wf, [("outputnode.maps", "inputnode.maps")]),
            (dwi_wf, quality, [("outputnode.motion", "motion")]),
            (maps_wf, quality, [("outputnode.counts", "counts")]),
            (dwi_wf, write, [("outputnode.mask", "dwi_mask")]),
            (maps_wf, write, [("outputnode.maps", "maps")]),
            (register_wf, write, carried),
        ]
    )
    if anat_wf is not None:
        through = [
            ("outputnode.brain", "inputnode.t1w_brain"),
            ("outputnode.forward", "inputnode.t1w_forward"),
        ]
        workflow.connect([(anat_wf, register_wf, through)])


def _connect_maps(workflow, anat_wf, write, record, references, *, cuts):
    """Wire the maps that another tool has fitted; return their picture."""
    maps_wf = init_given_maps_wf(record=record, grid_file=references["brain"])
    famap = Node(DrawOutline(cuts=cuts, mask=references["mask"]), "famap", mem_gb=0.5)
    if record.maps_space == "template":
        workflow.connect([(maps_wf, write, [("outputnode.maps", "maps_template")])])
        workflow.connect([(maps_wf, famap, [(("outputnode.maps", first_path), "background")])])
        return [("famap", famap)]
    register_wf = init_given_register_wf(grid_file=references["brain"])
    workflow.connect(
        [
            (maps_wf, register_wf, [("outputnode.maps", "inputnode.maps")]),
            (anat_wf, register_wf, [("outputnode.forward", "inputnode.t1w_forward")]),
            (maps_wf, write, [("outputnode.maps", "maps")]),
            (register_wf, write, [("outputnode.maps", "maps_template")]),
            (register_wf, famap, [(("outputnode.maps", first_path), "background")]),
        ]
    )
    return [("famap", famap)]
