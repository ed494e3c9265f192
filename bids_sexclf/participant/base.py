"""The road of one participant-session, and the run over all of them."""

from nipype.interfaces.utility import Merge
from nipype.pipeline.engine import Node, Workflow

from bids_sexclf.interfaces.ants import Carry
from bids_sexclf.interfaces.images import Quality
from bids_sexclf.interfaces.pictures import DrawFlicker, DrawOutline
from bids_sexclf.participant.anat import init_anat_wf
from bids_sexclf.participant.dwi import init_dwi_wf
from bids_sexclf.participant.maps import init_maps_wf
from bids_sexclf.participant.outputs import WriteDerivatives
from bids_sexclf.participant.register import choose_road, init_register_wf
from bids_sexclf.participant.report import name_of


def wf_name(participant_id, session_id=None):
    """Name the workflow of one participant-session; node names allow no dash."""
    return name_of(participant_id, session_id).replace("-", "_") + "_wf"


def init_participant_wf(*, row, root, out, template, references, preparation, threads=1):
    """Build the road from one participant-session's scans to its derivatives.

    Parameters
    ----------
    row : dict
        Of the worklist; paths relative to `root`.
    root : path-like
        The dataset.
    out : path-like
        Output folder.
    template : resources.Template
    references : dict of str to path-like
        Images on the group grid: ``brain``, ``mask``, ``white``.
    preparation : settings.Preparation
    threads : int

    Returns
    -------
    nipype.pipeline.engine.Workflow
    """
    has_t1w, has_dwi = bool(row["t1w"]), bool(row["dwi"])
    road = choose_road(has_t1w, preparation.provenance())
    workflow = Workflow(wf_name(row["participant_id"], row["session_id"]))
    common = {"preparation": preparation, "threads": threads}
    places = {"template": template, "grid_file": references["brain"]}
    write = Node(
        WriteDerivatives(
            out=str(out),
            participant_id=row["participant_id"],
            session_id=row["session_id"],
            sources={kind: row[kind] for kind in ("t1w", "dwi") if row[kind]},
            provenance=preparation.provenance(),
            road=road,
        ),
        "write",
        mem_gb=0.5,
        run_without_submitting=False,
    )
    quality = Node(
        Quality(
            template=references["brain"],
            template_mask=references["mask"],
            white=references["white"],
        ),
        "quality",
        mem_gb=0.5,
    )
    workflow.connect([(quality, write, [("out_file", "quality")])])
    anat_wf = init_anat_wf(**places, **common) if has_t1w else None
    pictures, cuts = [], 2 if preparation.sloppy else 5
    if has_t1w:
        anat_wf.inputs.inputnode.t1w = f"{root}/{row['t1w']}"
        pictures += _connect_anat(workflow, anat_wf, quality, write, references, cuts=cuts)
    if has_dwi:
        through = anat_wf if road == "t1w" else None
        series = {kind: f"{root}/{row[kind]}" for kind in ("dwi", "bval", "bvec")}
        register_wf = init_register_wf(road=road, **places, **common)
        dwi_wf = _connect_dwi(
            workflow, through, quality, write, series=series, register_wf=register_wf, **common
        )
        pictures += _draw_dwi(workflow, through, dwi_wf, register_wf, references, cuts=cuts)
    gather = Node(Merge(len(pictures)), "gather", run_without_submitting=True)
    stem = name_of(row["participant_id"], row["session_id"])
    write.inputs.figure_names = [f"{stem}_desc-{key}.svg" for key, _ in pictures]
    for index, (_, node) in enumerate(pictures, start=1):
        workflow.connect(node, "out_file", gather, f"in{index}")
    workflow.connect(gather, "out", write, "figures")
    return workflow


def _connect_anat(workflow, anat_wf, quality, write, references, *, cuts):
    """Wire the T1w's road; give its pictures."""
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
                [("outputnode.mask", "mask"), ("outputnode.t1w_template", "registered")],
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


def _connect_dwi(workflow, anat_wf, quality, write, *, series, register_wf, preparation, threads):
    """Wire the diffusion series' road; give its workflow."""
    dwi_wf = init_dwi_wf(preparation=preparation, threads=threads)
    maps_wf = init_maps_wf(preparation=preparation)
    dwi_wf.inputs.inputnode.trait_set(**series)
    maps_wf.inputs.inputnode.bval = write.inputs.bval = series["bval"]
    aligned = [(f"outputnode.{field}", f"inputnode.{field}") for field in ("dwi", "bvec", "mask")]
    masked = [(f"outputnode.{field}", f"inputnode.{field}") for field in ("b0_brain", "mask")]
    written = [("outputnode.dwi", "dwi"), ("outputnode.bvec", "bvec")]
    carried = [("outputnode.maps", "maps_template"), ("outputnode.transform", "dwi_transform")]
    workflow.connect(
        [
            (dwi_wf, maps_wf, aligned),
            (dwi_wf, register_wf, masked),
            (maps_wf, register_wf, [("outputnode.maps", "inputnode.maps")]),
            (dwi_wf, quality, [("outputnode.motion", "motion")]),
            (maps_wf, quality, [("outputnode.counts", "counts")]),
            (dwi_wf, write, [*written, ("outputnode.mask", "dwi_mask")]),
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
    return dwi_wf


def _draw_dwi(workflow, anat_wf, dwi_wf, register_wf, references, *, cuts):
    """Wire the diffusion series' pictures; give them."""
    dwimask = Node(DrawOutline(cuts=cuts), "dwimask", mem_gb=0.5)
    famap = Node(DrawOutline(cuts=cuts, mask=references["mask"]), "famap", mem_gb=0.5)
    outlined = [("outputnode.b0", "background"), ("outputnode.mask", "mask")]
    workflow.connect(
        [
            (dwi_wf, dwimask, outlined),
            (register_wf, famap, [(("outputnode.maps", _first), "background")]),
        ]
    )
    if anat_wf is None:
        return [("dwimask", dwimask), ("famap", famap)]
    moved = Node(Carry(), "b0_on_t1w", mem_gb=1)
    dwit1w = Node(DrawFlicker(cuts=cuts, labels=("T1w", "mean b=0")), "dwit1w", mem_gb=0.5)
    workflow.connect(
        [
            (dwi_wf, moved, [("outputnode.b0_brain", "in_files")]),
            (anat_wf, moved, [("outputnode.brain", "reference")]),
            (register_wf, moved, [("outputnode.transform", "transforms")]),
            (anat_wf, dwit1w, [("outputnode.brain", "fixed"), ("outputnode.mask", "outline")]),
            (moved, dwit1w, [("out_files", "moved")]),
        ]
    )
    return [("dwimask", dwimask), ("dwit1w", dwit1w), ("famap", famap)]


def _first(paths):
    return paths[0] if isinstance(paths, list) else paths
