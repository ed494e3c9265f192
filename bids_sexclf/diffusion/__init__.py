"""Fit diffusion models: signal and gradients in, maps out.

One file per model; each declares its ``MAPS`` and computes exactly those.
Nothing here reads a file or a header.
"""

from bids_sexclf.diffusion._gradients import find_shells
from bids_sexclf.diffusion._maps import MapRecord, count_impossible
from bids_sexclf.diffusion.kurtosis import fit_kurtosis
from bids_sexclf.diffusion.noddi import fit_noddi
from bids_sexclf.diffusion.tensor import fit_tensor

__all__ = [
    "MapRecord",
    "count_impossible",
    "find_shells",
    "fit_kurtosis",
    "fit_noddi",
    "fit_tensor",
]
