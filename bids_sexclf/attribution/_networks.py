"""Ask a network for what lies inside it, volume by volume."""

import numpy as np


def ask_part(module, part, volume):
    """Compute what a part of a network makes of one volume, without gradients.

    Parameters
    ----------
    module : training.evidence.Evidence
    part : callable
        Of standardised volumes (1, channels, X, Y, Z), to a tensor or several.
    volume : ndarray, shape ([C,] X, Y, Z)

    Returns
    -------
    whatever `part` returns
    """
    import torch

    from bids_sexclf.training.devices import reproducible

    batch = torch.from_numpy(np.ascontiguousarray(volume, np.float32))[None]
    with torch.inference_mode(), reproducible():
        return part(module.standardise(batch.to(module.centre.device)))
