"""Tissues of a T1w, and volumes and intensities of atlas regions, in native space."""

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_sexclf.interfaces.ants import Carry
from bids_sexclf.interfaces.tissues import MeasureRegions, SegmentTissues
from bids_sexclf.participant.references import labels_of

METHODS = (
    "Inside the brain mask, cerebrospinal fluid, grey and white matter were told apart by a "
    "Gaussian mixture whose voxels hold one or two tissues, with {priors}, a Markov random field "
    "[@zhang2001] and the rest of the bias field [@wells1996], on voxels of 1 mm or larger; "
    "volumes add up the tissues' shares of each voxel."
)
INTRACRANIAL = {
    "measured": "Intracranial volume is that of the brain mask, which is all within the skull.",
    "estimated": (
        "Intracranial volume was estimated as the brain mask closed over sulci and fissures by a "
        "ball of 15 mm radius."
    ),
}
PRIORS = "the template's tissue maps, carried by the registration, as priors [@ashburner2005]"
REGIONS = (
    "The atlas {atlases} was carried to each scan by nearest neighbour, and the volume, the grey "
    "matter and the mean intensity relative to white matter of every region were measured there."
)


def init_morphometry_wf(*, atlases, preparation, tissue_maps=(), name="morphometry_wf"):
    """Build the workflow that segments tissues and measures region volumes.

    Parameters
    ----------
    atlases : list of path-like
        Images in the template's space, each with its label table beside it; may be empty.
    preparation : settings.Preparation
    tissue_maps : pair of path-like, optional
        Share of grey and of white matter in the template's space. Without them, only intensity
        and neighbours separate the tissues.
    name : str

    Returns
    -------
    nipype.pipeline.engine.Workflow
        *Inputs*: t1w (bias-corrected), mask, inverse (from the template), participant_id,
        session_id. *Outputs*: dseg, probsegs (CSF, GM, WM), volumes (JSON), tables (one per
        atlas).
    """
    inputnode = Node(
        IdentityInterface(fields=["t1w", "mask", "inverse", "participant_id", "session_id"]),
        "inputnode",
    )
    outputnode = Node(
        IdentityInterface(fields=["dseg", "probsegs", "volumes", "tables"]), "outputnode"
    )
    segment = Node(SegmentTissues(sloppy=preparation.sloppy), "segment", mem_gb=1.5)
    if tissue_maps:
        segment.inputs.maps = [str(path) for path in tissue_maps]
    workflow = Workflow(name)
    carried = ("inverse", "transforms")
    segmented = [("out_file", "dseg"), ("probabilities", "probsegs"), ("volumes", "volumes")]
    workflow.connect(
        [
            (inputnode, segment, [("t1w", "in_file"), ("mask", "mask_file"), carried]),
            (segment, outputnode, segmented),
        ]
    )
    if not atlases:
        return workflow
    carry = Node(
        Carry(in_files=[str(path) for path in atlases], interpolation="nearestNeighbor"),
        "carry",
        mem_gb=1,
    )
    measure = Node(
        MeasureRegions(labels=[str(labels_of(path)) for path in atlases]), "measure", mem_gb=1
    )
    identity = [("participant_id", "participant_id"), ("session_id", "session_id")]
    workflow.connect(
        [
            (inputnode, carry, [("t1w", "reference"), ("inverse", "transforms")]),
            (inputnode, measure, [("t1w", "in_file"), ("mask", "mask_file"), *identity]),
            (segment, measure, [("probabilities", "probabilities")]),
            (carry, measure, [("out_files", "atlases")]),
            (measure, outputnode, [("out_files", "tables")]),
        ]
    )
    return workflow
