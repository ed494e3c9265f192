"""Catalogue of attribution methods: one per file, and the file's name is what a user types.

An entry declares ``YIELDS`` (``"regions"`` or ``"voxels"``) and gives ``attribute``. It sees a
function from volumes to logits, never a model; what it yields is signed, in logits.
"""

from bids_sexclf import catalogue


def find(name):
    """Import an attribution method by its name.

    Parameters
    ----------
    name : str
        The file's name without suffix, e.g. ``"region_occlusion"``.

    Returns
    -------
    module

    Raises
    ------
    InputError
        If there is none; the message lists those that exist.
    """
    return catalogue.find(__name__, name)
