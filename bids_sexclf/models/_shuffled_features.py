"""The first classifier of features of a study on shuffled sexes: it must score at chance.

It is the model ``shuffled`` of studies that read tables only.
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
        """Fit the classifier on shuffled targets.

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
        """Load a saved classifier."""
        loaded = cls(study)
        loaded.classifier = type(loaded.classifier).load(folder, loaded.classifier.study)
        return loaded


def _make(study):
    """Make the classifier under another design name, so that the two are not confused."""
    reading = (name for name in study.models if models.entry_of(study, name).READS == READS)
    fallback = next(name for name in FALLBACK if models.can_learn(models.find(name), study.target))
    classifier = models.make(study, next(reading, fallback))
    classifier.__class__ = type(
        "Classifier", (type(classifier),), {"design": f"shuffled-{classifier.design}"}
    )
    return classifier
