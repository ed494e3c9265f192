"""The study's own network, trained on sexes dealt at random: it must score chance.

Above chance it proves that participants, or knowledge about them, reach the test part
(Yagis 2021 show 96 % "accuracy" on random labels once slices of one participant do).

References
----------
Yagis E, et al. Effect of data leakage in brain MRI classification using 2D convolutional
neural networks. Sci Rep 2021. doi:10.1038/s41598-021-01681-w
"""

import numpy as np

from bids_sexclf import models, targets

READS = "volumes"
FALLBACK = "cnn3"
SALT = 1
"""Keeps the permutation apart from the shuffling of batches, which has the same seed."""


class Classifier:
    """Train the first network of the study on shuffled sexes.

    Parameters
    ----------
    study : settings.Study
        ``models[0]`` names the network or its variant; ``cnn3`` where that is none.

    Attributes
    ----------
    history : list of dict
        That of the network.
    """

    kinds = ("classes", "quantity")
    devices = 1

    def __init__(self, study):
        self.target = study.target
        self.network = _network(study)

    @property
    def history(self):
        """Losses of each epoch."""
        return self.network.history

    def fit(self, inputs, target, validation, *, seed, folder=None, progress=None):
        """Train on sexes dealt anew within the training part and within the validation part.

        Parameters
        ----------
        inputs, target, validation, folder, progress
            As the network takes them.
        seed : int
            Also fixes the permutation.

        Returns
        -------
        Classifier
            Itself.
        """
        draw = np.random.default_rng([seed, SALT])
        shuffle = _shuffle if targets.find(self.target).is_classes else _permute
        target = shuffle(target, draw)
        validation = (validation[0], shuffle(validation[1], draw))
        self.network.devices = self.devices
        self.network.fit(inputs, target, validation, seed=seed, folder=folder, progress=progress)
        return self

    def evidence(self, inputs):
        """Give the logits of the network, shape (n,)."""
        return self.network.evidence(inputs)

    def save(self, folder):
        """Save the network."""
        self.network.save(folder)

    @classmethod
    def load(cls, folder, study):
        """Load what ``save`` wrote, with the study it was trained for."""
        loaded = cls(study)
        loaded.network = type(loaded.network).load(folder, loaded.network.study)
        return loaded


DEALS = 200
"""Permutations of ages that the least telling is chosen from."""


def _shuffle(target, draw):
    """Deal new labels so that half of each sex keeps its own.

    A plain permutation goes with the truth a little, one way or the other; where the truth is easy
    to learn, the network learns it or its opposite, and the control scatters between 0 and 1.
    """
    target = np.asarray(target)
    if set(np.unique(target)) != {0, 1}:
        return draw.permutation(target)  # the network says what is wrong with it
    dealt, odd = np.empty_like(target), draw.integers(2)
    for label in (0, 1):
        rows = draw.permutation(np.flatnonzero(label == target))
        # The odd one out, where a sex has an odd number, goes either way, alike in both sexes.
        half = (len(rows) + odd) // 2
        dealt[rows[:half]], dealt[rows[half:]] = label, 1 - label
    if len(np.unique(dealt)) < 2:
        return draw.permutation(target)
    return dealt


def _permute(target, draw):
    """Deal ages anew, so that they go with the true ones as little as one of many deals does.

    A plain permutation goes with the truth a little, and where age is easy to learn, the network
    learns that little.
    """
    target = np.asarray(target, dtype=float)
    centred = target - target.mean()
    dealt = [draw.permutation(target) for _ in range(DEALS)]
    return min(dealt, key=lambda ages: abs(ages @ centred))


def _network(study):
    """Make the first network under a design of its own, so that no one takes it for it."""
    name = next((name for name in study.models[:1] if _is_network(study, name)), FALLBACK)
    made = models.make(study, name)
    made.__class__ = type("Classifier", (type(made),), {"design": f"shuffled-{made.design}"})
    return made


def _is_network(study, name):
    return hasattr(models.entry_of(study, name), "build")
