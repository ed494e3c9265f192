"""The families of maps: their names on disk, the functions that fit them, and their maps."""

from typing import NamedTuple

from bids_sexclf.diffusion import by_dipy, kurtosis, noddi, tensor
from bids_sexclf.errors import InputError


class Family(NamedTuple):
    """The maps of one model.

    Attributes
    ----------
    label : str
        Value of ``model-`` in the names of its files.
    title : str
        Name of the model, for a sidecar.
    records : dict of str to MapRecord
        The maps that are written, by name.
    fits : dict of str to callable
        Engine to the function that fits the model; ``native`` always exists.
    words : dict of str to str
        Engine to a description of the fit, for a sidecar.
    """

    label: str
    title: str
    records: dict
    fits: dict
    words: dict


def _pick(maps, names):
    return {record.name: record for record in maps if record.name in names.split()}


FAMILIES = {
    "tensor": Family(
        "tensor",
        "Diffusion tensor",
        _pick(tensor.MAPS, "FA MD AD RD"),
        {"native": tensor.fit_tensor, "dipy": by_dipy.fit_tensor},
        {
            "native": "weighted least squares",
            "dipy": "weighted least squares, by dipy",
            "fsl": "weighted least squares, by FSL dtifit",
        },
    ),
    "kurtosis": Family(
        "dki",
        "Diffusion kurtosis",
        _pick(kurtosis.MAPS, "MK AK RK KFA"),
        {"native": kurtosis.fit_kurtosis, "dipy": by_dipy.fit_kurtosis},
        {"native": "weighted least squares", "dipy": "weighted least squares, by dipy"},
    ),
    "noddi": Family(
        "noddi",
        "Neurite orientation dispersion and density imaging",
        _pick(noddi.MAPS, "ICVF ODI ISOVF"),
        {"native": noddi.fit_noddi},
        {"native": "least squares"},
    ),
}
"""Model as `settings.Preparation.dwi_models` names it, to its family of maps."""

BY_LABEL = {family.label: name for name, family in FAMILIES.items()}
"""Label in a file's name to the model."""


def engine_of(name, engine):
    """Return the engine that fits a model: the requested one if it can, else ``native``."""
    return engine if engine in FAMILIES[name].words else "native"


def why_not(name, bvals, bvecs, b0_threshold=50):
    """Return the reason why the gradients of a scan do not determine a model, or None.

    Parameters
    ----------
    name : str
        Key of `FAMILIES`.
    bvals : array-like, shape (N,)
        s/mm².
    bvecs : array-like, shape (N, 3)
    b0_threshold : float, default 50
        s/mm².

    Returns
    -------
    str or None

    Examples
    --------
    >>> import numpy as np
    >>> why_not("kurtosis", [0, 1000], np.eye(3)[:2])
    'The b-values form 1 shell over 50 s/mm² (1000); kurtosis needs two or more...'
    """
    import numpy as np

    # Fitting one voxel runs the checks of the fit itself, so no second rule is needed.
    try:
        voxel = np.ones((1, 1, 1, len(bvals)))
        FAMILIES[name].fits["native"](voxel, bvals, bvecs, b0_threshold=b0_threshold)
    except InputError as fault:
        return str(fault)
    return None
