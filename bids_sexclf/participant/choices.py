"""Choose the workflow of each part of a participant-session by what is already prepared."""

from bids_sexclf.motion.align import motion_gb
from bids_sexclf.participant.anat import init_anat_wf
from bids_sexclf.participant.distortion import init_correction_wf
from bids_sexclf.participant.dwi import init_dwi_wf
from bids_sexclf.participant.given import (
    init_given_anat_wf,
    init_given_dwi_wf,
    init_given_register_wf,
)
from bids_sexclf.participant.pool import init_pooled_dwi_wf
from bids_sexclf.participant.register import init_register_wf
from bids_sexclf.participant.series import parts_of
from bids_sexclf.volumes import series_gb

SERIES = ("dwi", "bval", "bvec")
"""The files of a diffusion series."""


def choose_anat_wf(record, *, template, grid_file, preparation, threads, tissue_maps=()):
    """Return the workflow of the T1w; it skips what other tools have prepared."""
    options = {"template": template, "grid_file": grid_file, "preparation": preparation}
    options["tissue_maps"] = tissue_maps
    if record.t1w_mask:
        return init_given_anat_wf(record=record, threads=threads, **options)
    return init_anat_wf(threads=threads, **options)


def choose_register_wf(route, *, template, grid_file, preparation, threads):
    """Return the workflow that brings the maps onto the group grid."""
    if route == "aligned":
        return init_given_register_wf(grid_file=grid_file, covers=True)
    return init_register_wf(
        route=route,
        template=template,
        grid_file=grid_file,
        preparation=preparation,
        threads=threads,
    )


def choose_dwi_wf(record, *, row, preparation, threads):
    """Return the workflow of the series; it skips what other tools have prepared."""
    if record.dwi_done:
        return init_given_dwi_wf(record=record)
    sizes = {
        "series_gb": [series_gb(path) for path in record.dwi],
        "motion_gb": [motion_gb(path) for path in record.dwi],
    }
    parts, common = parts_of(row), {"preparation": preparation, "threads": threads}
    if len(record.dwi) > 1:
        files = {kind: [str(path) for path in getattr(record, kind)] for kind in SERIES}
        return init_pooled_dwi_wf(files=files, parts=parts, sizes=sizes, **common)
    return init_dwi_wf(
        metadata=parts[0].metadata,
        **{key: sum(values) for key, values in sizes.items()},
        distortion_wf=init_correction_wf(parts[0].distortion, **common),
        **common,
    )
