"""The input of classifiers of features: participants × features, with names."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Features:
    """Numbers of some participants, one column per feature.

    Attributes
    ----------
    values : ndarray of float64, shape (n, k)
        ``nan`` where a number is unknown.
    names : tuple of str
        One per column, e.g. ``Lobes 3 volume_mm3``.
    """

    values: np.ndarray
    names: tuple

    def __len__(self):
        return len(self.values)

    @property
    def shape(self):
        """Participants and features: (n, k)."""
        return self.values.shape

    def __getitem__(self, rows):
        """Return the numbers of one participant, shape (k,), or of several."""
        return self.values[rows]
