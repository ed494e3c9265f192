"""Base of all targets: column, coding, loss, scores and words."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np

from bids_sexclf.errors import InputError


@dataclass(frozen=True)
class Target(ABC):
    """The target of a study: the quantity or class that models learn.

    Attributes
    ----------
    name : str
        Of the file.
    column : str
        Column of cohort.tsv that holds it. One that the cohort does not have otherwise is read
        from participants.tsv.
    title : str
        Heading of the report.
    topic : str
        What the report is about, within a sentence.
    noun : str
        The target within a sentence, e.g. ``"sex"``.
    limits : tuple of (str, str)
        What a result does not show: a name and a sentence.
    baselines : dict
        Baseline by default to the one that takes its place.
    by_region : bool
        Whether the stage ``differences`` compares what this target learns.
    """

    name: str
    column: str
    title: str
    topic: str
    noun: str
    limits: tuple = ()
    baselines: dict = field(default_factory=dict)
    by_region: bool = False

    kind = ""
    """``"classes"`` or ``"quantity"``: what a model must be able to learn."""

    losses = {}
    """Losses that fit, to functions of ``torch.nn.functional``; the first is the default."""

    main_score, main_title, main_unit = "", "", ""
    """The score that chooses, compares and stands in the headline; its name for readers."""

    outputs = None
    """Outputs of a network; None for what its ``build`` gives by default."""

    fewest = 2
    """Fewest people in a part."""

    balanced_by = "sex"
    """What parts are balanced over, beside age."""

    alike_kinds = ("female", "male")
    """Names of the two kinds of people of `weighed`."""

    weigh_alike = "women and men"
    """Who weighs alike where regions are tested."""

    silent_at_chance = False
    """Whether nothing more is said of a model that is not better than chance."""

    @property
    def is_classes(self):
        """Whether the target has two classes and is not a quantity."""
        return self.kind == "classes"

    def has(self, table):
        """Return whether a table of the report applies to this target."""
        if table in ("claims", "differences", "voxel_differences"):
            return self.by_region
        return table not in ("added", "matching") or self.is_classes

    def check_shape(self, target, n_participants):
        """Return the target as an array of the right length.

        Raises
        ------
        InputError
            If its length is wrong, or there are no participants.
        """
        target = np.asarray(target)
        if target.shape != (n_participants,) or n_participants == 0:
            raise InputError(
                f"Found a target of shape {target.shape} for {n_participants} participants, needed "
                "one value each, and at least one participant. Make the splits again."
            )
        return target

    def decode(self, cells):
        """Convert cells of participants.tsv to values of the column; None if unknown."""
        return cells.where(cells.notna(), None)

    def find_unknown(self, people):
        """Find participants whose value is unknown.

        Parameters
        ----------
        people : pandas.DataFrame

        Returns
        -------
        dict of str to str
            Participant to the reason.
        """
        unknown = people.loc[people[self.column].isna(), "participant_id"]
        return {person: f"{self.noun} is unknown, needed {self.needed}" for person in unknown}

    def strata(self, people):
        """Return the strata over which parts are balanced, beside age.

        Parameters
        ----------
        people : pandas.DataFrame

        Returns
        -------
        pandas.Series
        """
        return people["sex"]

    def weighed(self, cohort):
        """Return the kind (0 or 1) of each row; both kinds have equal weight in tests."""
        return (cohort["sex"] == "male").to_numpy().astype(int)

    # The following methods differ between classes and quantities.

    @property
    @abstractmethod
    def needed(self):
        """Required content of the column, as part of a sentence."""

    @property
    @abstractmethod
    def words(self):
        """Words that replace ``{name}`` in headings, titles and captions."""

    @property
    @abstractmethod
    def full_part(self):
        """Required content of each part, as part of a sentence."""

    @abstractmethod
    def code(self, cohort):
        """Return the numbers that a model learns, shape (n,)."""

    @abstractmethod
    def check(self, target, n_participants):
        """Return the coded target if it can be learnt from, or raise InputError."""

    @abstractmethod
    def scale(self, target):
        """Return the shift and the divisor that standardise the target, from training data."""

    @abstractmethod
    def weigh(self, target, weighting):
        """Return the weights of participants with target 0 and with target 1."""

    @abstractmethod
    def check_varied(self, target):
        """Raise InputError for a training part in which the target does not vary."""

    @abstractmethod
    def score(self, answer, target):
        """Score answers: a float, or None where it cannot be scored."""

    @abstractmethod
    def find_fault(self, values):
        """Return the reason why the values of a part cannot be used, or None."""

    @abstractmethod
    def sign(self, target):
        """Return 1 or -1: the sign of evidence that supports the truth of each participant."""

    @abstractmethod
    def effect(self, target, evidence, hidden):
        """Compute how much worse predictions become when a region is hidden, shape (n,)."""


def name_folds(rows):
    """Return the fold of each row of predictions: one label per repeat and fold."""
    return (rows["repeat"].astype(str) + "/" + rows["fold"].astype(str)).to_numpy()


def join_baseline(rows, baseline):
    """Join the predictions of a model with those of a baseline for the same participants."""
    keys = ["repeat", "fold", "participant_id", "session_id"]
    return rows.merge(baseline[[*keys, "evidence"]], on=keys, suffixes=("", "_baseline"))
