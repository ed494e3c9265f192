"""Find the maps of the cohort, and read them."""

from bids_sexclf import layout
from bids_sexclf.anatomy.acpc import SPACE as NATIVE
from bids_sexclf.cohort.coverage import read_coverage
from bids_sexclf.errors import InputError, suggest
from bids_sexclf.volumes import load

ENTRIES = {"T1w": "t1w_template", "T1wAffine": "t1w_affine", "T1wACPC": "t1w_acpc"} | dict.fromkeys(
    ("FA", "MD", "AD", "RD"), "tensor_template"
)
ENTRIES |= dict.fromkeys(("MK", "AK", "RK", "KFA"), "kurtosis_template")
ENTRIES |= dict.fromkeys(("ICVF", "ODI", "ISOVF"), "noddi_template")
"""Map to its entry in ``data/names.json``."""


def find_maps(desk):
    """Find every map of the study on disk.

    Parameters
    ----------
    desk : base.Desk

    Returns
    -------
    paths : dict
        (participant_id, session_id) to map name to path, relative to the derivatives.
    spaces : set of tuple
        (space, resolution label) that the maps lie in.
    """
    unknown = [name for name in desk.study.single_maps if name not in ENTRIES]
    if unknown:
        raise InputError(
            f"Found maps {', '.join(unknown)}, needed some of {', '.join(ENTRIES)}. Correct maps."
            f"{suggest(unknown, ENTRIES)}"
        )
    paths, spaces = {}, set()
    # A participant counts only once its quality file, which is written last, is there.
    for entry in layout.find_derivatives(desk.derivatives, "quality"):
        paths[entry["participant_id"], entry["session_id"]] = {}
    for name in desk.study.single_maps:
        entities = {} if name.startswith("T1w") else {"param": name.lower()}
        for entry in layout.find_derivatives(desk.derivatives, ENTRIES[name], **entities):
            key = (entry["participant_id"], entry["session_id"])
            if key in paths:
                paths[key][name] = entry["path"]
                spaces.add((entry.get("space", NATIVE), entry["res"]))
    if not paths:
        raise InputError(
            f"Found no prepared participant in {desk.derivatives}, needed sub-*/*_quality.json. "
            "Run the participant level first, or give its output by --derivatives "
            "bids_sexclf=PATH; models that read features alone need a table, and no scans."
        )
    return paths, spaces


def find_space(spaces):
    """Refuse maps of several spaces or resolutions."""
    if len(spaces) > 1:
        raise InputError(
            f"Found maps in {sorted(spaces)}, needed one space and one resolution. Prepare all "
            "participants alike, or keep the outputs in separate folders."
        )
    return next(iter(spaces), (None, None))


def read_map(derivatives, path, mask_path=None):
    """Read a map and its coverage mask.

    Parameters
    ----------
    derivatives : pathlib.Path
    path : str
    mask_path : str, optional
        Coverage mask.

    Returns
    -------
    values : ndarray, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
    covered : ndarray of bool, shape (X, Y, Z), or None
        None where everything was measured.
    """
    values, affine = load(derivatives / path, ndim=3)
    return values, affine, read_coverage(derivatives, mask_path, values.shape)
