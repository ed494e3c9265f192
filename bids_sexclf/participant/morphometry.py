"""Tissues of a T1w, and volumes and intensities of atlas regions, in native space."""

import re
from pathlib import Path

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_sexclf import layout, resources
from bids_sexclf.errors import InputError
from bids_sexclf.interfaces.ants import Carry
from bids_sexclf.interfaces.tissues import MeasureRegions, SegmentTissues

METHODS = (
    "Inside the brain mask, cerebrospinal fluid, grey and white matter were told apart by a "
    "three-class Gaussian mixture with a Markov random field prior (Atropos; Avants et al. 2011), "
    "and their volumes added up by probability. Intracranial volume was estimated as the brain "
    "mask closed over sulci and fissures by a ball of 15 mm radius."
)
REGIONS = (
    "The atlas {atlases} was carried to each scan by nearest neighbour, and the volume, the grey "
    "matter and the mean intensity relative to white matter of every region were measured there."
)
ATLAS_MM = 1.0
"""Voxel size at which atlases are kept: region volumes must not depend on the group grid."""
NONE = "none"


def init_morphometry_wf(*, atlases, preparation, name="morphometry_wf"):
    """Build the road from a brain to its tissues and region volumes.

    Parameters
    ----------
    atlases : list of path-like
        Images in the template's space, each with its label table beside it; may be empty.
    preparation : settings.Preparation
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
    workflow = Workflow(name)
    segmented = [("out_file", "dseg"), ("probabilities", "probsegs"), ("volumes", "volumes")]
    workflow.connect(
        [
            (inputnode, segment, [("t1w", "in_file"), ("mask", "mask_file")]),
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


def labels_of(image):
    """Give the path of the label table beside an atlas image."""
    return Path(re.sub(r"\.nii\.gz$", ".tsv", str(image)))


def write_atlases(out, template, preparation, folders=()):
    """Write the atlases of the region measures at 1 mm in the template's space.

    They lie beside the participants, as the template does. What is there is kept, so that
    finished steps stay valid.

    Parameters
    ----------
    out : path-like
    template : resources.Template
    preparation : settings.Preparation
        ``morphometry_atlas`` is read.
    folders : iterable of path-like
        Searched for atlas files before $FSLDIR.

    Returns
    -------
    list of pathlib.Path
        Images, absolute.

    Raises
    ------
    InputError
        If an atlas is unknown, does not fit the template, or two have one name.
    ToolError
        If its files are not at hand.
    """
    asked = [name for name in preparation.morphometry_atlas if name != NONE]
    names = [layout.atlas_label(name) for name in asked]
    if len(set(names)) < len(names):
        raise InputError(
            f"Found --morphometry-atlas {' '.join(asked)}, needed a name for each. Rename the "
            "images, or give each once."
        )
    paths = []
    for name, label in zip(asked, names, strict=True):
        path = Path(out, layout.atlas_reference(label, template.name, ATLAS_MM)).resolve()
        if not (path.exists() and labels_of(path).exists()):
            _write_atlas(path, name, template, folders)
        paths.append(path)
    return paths


def _write_atlas(path, name, template, folders):
    """Write one atlas and, last, its label table."""
    import numpy as np

    from bids_sexclf.disk import write_json
    from bids_sexclf.tables import schema, write_tsv
    from bids_sexclf.volumes import save

    grid = resources.group_grid(template, ATLAS_MM)
    try:
        atlas = resources.find_atlas(name, grid, template.name, folders=folders)
    except InputError as fault:
        raise InputError(
            f"{fault} Here it is --morphometry-atlas, which may also be {NONE}."
        ) from fault
    counts = np.bincount(atlas.parcellation[atlas.parcellation > 0].ravel())
    counts = np.pad(counts, (0, int(atlas.labels["index"].max()) + 1))
    labels = atlas.labels[["index", "name", "hemisphere"]]
    save(atlas.parcellation.astype(np.int32), grid.affine, path)
    known = resources.known_atlases().get(name, {})
    about = {"Name": name} | {
        key: known[key] for key in ("Name", "Source", "License") if key in known
    }
    write_json(about, layout.atlas_description(path))
    about |= {"SpatialReference": template.name, "Resolution": f"{ATLAS_MM:g} mm isotropic"}
    write_json(schema("atlas") | about, layout.sidecar(path))
    write_tsv(labels.assign(n_voxels=counts[labels["index"].to_numpy(int)]), labels_of(path))
