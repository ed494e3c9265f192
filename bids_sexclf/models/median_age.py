"""Baseline of age: the median age of the training part for everyone."""

import numpy as np

from bids_sexclf import targets
from bids_sexclf.errors import InputError
from bids_sexclf.settings import Study
from bids_sexclf.training import cards

READS = ("age_years",)
"""Read of the training part only, as its target."""


class Classifier:
    """A prediction of the median training age, the constant with the least absolute error.

    Parameters
    ----------
    study : settings.Study
        Its target must be age.

    Attributes
    ----------
    history : list
        Empty: there are no epochs.
    """

    kinds = ("quantity",)
    reads_target = True
    sibling = "age_only"
    design = "median_age"

    def __init__(self, study):
        self.study, self.history, self.age = study, [], None

    def fit(self, inputs, target, validation, *, seed, folder=None, progress=None):
        """Find the median.

        Parameters
        ----------
        inputs : ndarray, shape (n, 1)
            Only their number is read.
        target : ndarray, shape (n,)
            Ages of the training part, years.
        validation, seed, folder, progress
            Not read.

        Returns
        -------
        Classifier
            Itself.
        """
        self.age = float(np.median(targets.find(self.study.target).check(target, len(inputs))))
        return self

    def evidence(self, inputs):
        """Return the median age for each participant, shape (n,), years."""
        self._check_fitted()
        return np.full(len(inputs), self.age)

    def save(self, folder):
        """Save the median as ``model.json``."""
        self._check_fitted()
        content = {"target": self.study.target, "median_age_years": self.age}
        cards.write_card(folder, self.design, content)

    @classmethod
    def load(cls, folder):
        """Load a saved classifier."""
        card = cards.read_card(folder, cls.design)
        loaded = cls(Study(target=card["target"]))
        loaded.age = float(card["median_age_years"])
        return loaded

    def _check_fitted(self):
        if self.age is None:
            raise InputError(
                f"Found a {self.design!r} without a median, needed a fitted one. Call fit or load."
            )
