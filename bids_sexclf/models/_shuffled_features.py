"""The study's own classifier of features, on sexes dealt at random: it must score chance.

What `shuffled` is where a study reads tables alone. A study calls it ``shuffled``.
"""

from bids_sexclf import models

READS = "features"
NESTED = True
FALLBACK = "logistic", "ridge"
DEALT = True
"""Its targets, for learning and for testing, are dealt once before any fold is fitted."""


class Classifier:
    """Fit the first classifier of features of the study on shuffled sexes.

    Parameters
    ----------
    study : settings.Study
        The first of ``models`` that reads features; ``logistic`` or ``ridge`` where none does.

    Attributes
    ----------
    history : list of dict
        Empty: there are no epochs.
    importances : list of dict
        Empty: what is learnt from dealt sexes has no meaning.
    """

    kinds = ("classes", "quantity")
    importances = ()

    def __init__(self, study):
        self.target = study.target
        self.classifier = _make(study)
        self.history = []

    def fit(self, inputs, target, validation, *, seed, folder=None, progress=None, groups=None):
        """Fit the classifier on targets that were dealt before.

        Parameters
        ----------
        inputs, target, validation, seed, folder, progress, groups
            As the classifier takes them.

        Returns
        -------
        Classifier
            Itself.
        """
        self.classifier.fit(inputs, target, validation, seed=seed, groups=groups)
        return self

    def evidence(self, inputs):
        """Return the evidence of the classifier, shape (n,)."""
        return self.classifier.evidence(inputs)

    def save(self, folder):
        """Save the classifier."""
        self.classifier.save(folder)

    @classmethod
    def load(cls, folder, study):
        """Load what ``save`` wrote, with the study it was fitted for."""
        loaded = cls(study)
        loaded.classifier = type(loaded.classifier).load(folder, loaded.classifier.study)
        return loaded


def _make(study):
    """Make the classifier under a design of its own, so that no one takes it for it."""
    reading = (name for name in study.models if models.entry_of(study, name).READS == READS)
    fallback = next(name for name in FALLBACK if models.can_learn(models.find(name), study.target))
    made = models.make(study, next(reading, fallback))
    made.__class__ = type("Classifier", (type(made),), {"design": f"shuffled-{made.design}"})
    return made
