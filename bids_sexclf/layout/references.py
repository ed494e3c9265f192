"""Name the images of the template and the atlases among the derivatives (``tpl-*/``)."""

import re
from pathlib import Path

from bids_sexclf.layout.entities import number_label

REFERENCES = {
    "brain": "desc-brain_T1w",
    "mask": "desc-brain_mask",
    "white": "label-WM_mask",
    "grey_share": "label-GM_probseg",
    "white_share": "label-WM_probseg",
}


def reference(kind, template, resolution):
    """Return the path of a template image on the group grid, relative to the output folder.

    Parameters
    ----------
    kind : str
        A key of `REFERENCES`.
    template : str
    resolution : str
        Label, as `number_label` spells it.

    Returns
    -------
    pathlib.Path
    """
    folder = f"tpl-{template}"
    return Path(folder, f"{folder}_res-{resolution}_{REFERENCES[kind]}.nii.gz")


def atlas_label(name):
    """Return the BIDS label of an atlas: the letters and digits of its name or file name."""
    return re.sub(r"[^a-zA-Z0-9]", "", Path(name).name.split(".")[0])


def atlas_reference(atlas, template, voxel_size):
    """Return the path of an atlas image in the template's space, relative to the output folder.

    Parameters
    ----------
    atlas : str
        Label, as `atlas_label` spells it.
    template : str
    voxel_size : float
        mm.

    Returns
    -------
    pathlib.Path

    Examples
    --------
    >>> atlas_of(atlas_reference("Lobes", "MNI152NLin6Asym", 1.0))
    'Lobes'
    """
    folder = f"tpl-{template}"
    name = f"{folder}_atlas-{atlas}_res-{number_label(voxel_size)}_dseg.nii.gz"
    return Path(folder, name)


def atlas_of(path):
    """Return the label of the atlas in a file name."""
    return re.search(r"_atlas-([a-zA-Z0-9]+)", Path(path).name)[1]


def atlas_description(path):
    """Return the path of the atlas description of a file in ``tpl-*``: beside that folder."""
    return Path(path).parent.parent / f"atlas-{atlas_of(path)}_description.json"
