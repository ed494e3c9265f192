"""The study's own network, trained and tested on sexes dealt at random: it must score chance.

Sexes are dealt once, to all folds (`stats.shuffling`), and participants are tested on the sex that
was dealt to them. Above chance this proves that participants, or copies of them, reach the training
(Yagis 2021 show 96 % "accuracy" on random labels once slices of one participant do).

References
----------
Yagis E, et al. Effect of data leakage in brain MRI classification using 2D convolutional
neural networks. Sci Rep 2021. doi:10.1038/s41598-021-01681-w
"""

from bids_sexclf import models
from bids_sexclf.errors import InputError
from bids_sexclf.training import cards

READS = "volumes"
FALLBACK = "cnn3"
PREFIX = "shuffled-"
"""Begins the design of a saved network that learnt shuffled targets."""
DEALT = True
"""Its targets, for learning and for testing, are dealt once before any fold is fitted."""


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

    @property
    def module(self):
        """The network as a function with gradients; None before ``fit``."""
        return self.network.module

    def fit(self, inputs, target, validation, *, seed, folder=None, progress=None):
        """Train the network on targets that were dealt before.

        Parameters
        ----------
        inputs, target, validation, seed, folder, progress
            As the network takes them.

        Returns
        -------
        Classifier
            Itself.
        """
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
    def load(cls, folder):
        """Load what ``save`` wrote."""
        design = cards.read_design(folder)
        if not design.startswith(PREFIX):
            raise InputError(
                f"Found {design!r} in {folder}, needed a network that was trained by 'shuffled'. "
                "Choose the folder or the model that belongs to the other."
            )
        network = models.find_classifier(design.removeprefix(PREFIX)).Classifier
        loaded = cls.__new__(cls)
        loaded.network = _rename(network).load(folder)
        loaded.target = loaded.network.study.target
        return loaded


def _network(study):
    """Make the first network under a design of its own, so that no one takes it for it."""
    name = next((name for name in study.models[:1] if _is_network(study, name)), FALLBACK)
    made = models.make(study, name)
    made.__class__ = _rename(type(made))
    return made


def _rename(network):
    """Return the classifier of a network under the design of the control."""
    return type("Classifier", (network,), {"design": f"{PREFIX}{network.design}"})


def _is_network(study, name):
    return hasattr(models.entry_of(study, name), "build")
