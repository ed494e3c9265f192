"""Baseline of site: above chance if the sexes, or ages, differ between sites.

Evidence of sex is the logarithm of the ratio of the site's share among the men and among the women
of the training part, with half a participant added to every site and sex; 0 for a site that is not
in the training part. Evidence of age is the mean age of the site's training participants, or of all
of them for such a site.
"""

import numpy as np

from bids_sexclf import targets
from bids_sexclf.errors import InputError
from bids_sexclf.settings import Study
from bids_sexclf.training import cards

READS = ("site",)


class Classifier:
    """A classifier by the counts of men and women, or the mean age, of each site.

    Parameters
    ----------
    study : settings.Study
        ``target`` is read.

    Attributes
    ----------
    history : list
        Empty: there are no epochs.
    """

    kinds = ("classes", "quantity")

    def __init__(self, study):
        self.study = study
        self.history = []
        self.known = None

    def fit(self, inputs, target, validation, *, seed, folder=None, progress=None):
        """Count, or average.

        Parameters
        ----------
        inputs : array-like, shape (n, 1)
            Sites of the training part.
        target : ndarray, shape (n,)
            1 for male, 0 for female; or ages, years.
        validation, seed, folder, progress
            Not read.

        Returns
        -------
        Classifier
            Itself.

        Raises
        ------
        InputError
            If sites are unknown, or all have one sex or age.
        """
        sites, goal = _check_sites(inputs), targets.find(self.study.target)
        target = goal.check(target, len(sites))
        goal.check_varied(target)
        tell = _log_ratios if goal.is_classes else _means
        elsewhere = 0.0 if goal.is_classes else float(target.mean())
        self.known = {"evidence": tell(sites, target), "elsewhere": elsewhere}
        return self

    def evidence(self, inputs):
        """Return the logit for male, or the age, of each participant.

        Parameters
        ----------
        inputs : array-like, shape (n, 1)
            Sites.

        Returns
        -------
        ndarray of float64, shape (n,)
            Logits, positive for male, 0 for a site that is not in the training part; or years.

        Raises
        ------
        InputError
            If it is not fitted, or sites are unknown.
        """
        self._check_fitted()
        evidence_of, elsewhere = self.known["evidence"], self.known["elsewhere"]
        return np.array([evidence_of.get(site, elsewhere) for site in _check_sites(inputs)])

    def save(self, folder):
        """Save the evidence of each site as ``model.json``."""
        self._check_fitted()
        content = {"columns": list(READS), "target": self.study.target, "known": self.known}
        cards.write_card(folder, "site_only", content)

    @classmethod
    def load(cls, folder):
        """Load a saved classifier; its evidence is identical to the last bit."""
        card = cards.read_card(folder, "site_only")
        loaded = cls(Study(target=card["target"]))
        loaded.known = card.get("known")
        loaded._check_fitted()
        return loaded

    def _check_fitted(self):
        if self.known is None:
            raise InputError(
                "Found a 'site_only' without counts, needed a fitted one. Call fit or load, or run "
                "the fit stage again."
            )


def _log_ratios(sites, target):
    """Return the logit of each site: log ratio of its share among men and among women."""
    sites_known, logits = sorted(set(sites)), {}
    for site in sites_known:
        counts = [np.sum((sites == site) & (label == target)) + 0.5 for label in (0, 1)]
        shares = [
            count / (np.sum(label == target) + 0.5 * len(sites_known))
            for label, count in zip((0, 1), counts, strict=True)
        ]
        logits[site] = float(np.log(shares[1]) - np.log(shares[0]))
    return logits


def _means(sites, target):
    """Return the mean of the target at each site."""
    return {site: float(target[sites == site].mean()) for site in sorted(set(sites))}


def _check_sites(inputs):
    """Return sites as text, shape (n,)."""
    inputs = np.asarray(inputs, dtype=object)
    if inputs.ndim != 2 or inputs.shape[1] != 1:
        raise InputError(
            f"Found values of shape {inputs.shape}, needed one column, site. Take it from "
            "cohort.tsv."
        )
    unknown = sum(site is None or site != site for site in inputs[:, 0])
    if unknown:
        raise InputError(
            f"Found {unknown} of {len(inputs)} participants without a site, needed all known. "
            "Complete participants.tsv, or leave 'site_only' out of the study's models."
        )
    return np.array([str(site) for site in inputs[:, 0]], dtype=object)
