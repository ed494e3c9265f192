"""Targets of two classes: evidence is the logit for the second of them."""

from dataclasses import dataclass

import numpy as np

from bids_sexclf.errors import InputError
from bids_sexclf.targets._base import Target, join_baseline, name_folds
from bids_sexclf.targets._class_sentences import ClassSentences
from bids_sexclf.texts import count_noun


def balance(target, classes=("female", "male")):
    """Compute weights of the classes such that both count equally.

    Parameters
    ----------
    target : ndarray of int, shape (n,)
        0 for the first class, 1 for the second.
    classes : pair of str
        What they are called.

    Returns
    -------
    tuple of float
        Weight of a participant of each class; their mean over participants is 1.

    Raises
    ------
    InputError
        If there is only one class.

    Examples
    --------
    >>> balance(np.array([0, 0, 0, 1]))
    (0.6666666666666666, 2.0)
    """
    counts = np.bincount(target, minlength=2)
    if counts.min() == 0:
        raise InputError(
            f"Found {counts[0]} {classes[0]} and {counts[1]} {classes[1]} participants in the "
            "training part, needed some of both. Add participants, or use fewer folds."
        )
    return tuple((len(target) / (2 * counts)).tolist())


@dataclass(frozen=True)
class TwoClasses(ClassSentences, Target):
    """One of two classes, learnt by cross-entropy and scored by the AUC.

    Attributes
    ----------
    classes : pair of str
        The two values of the column. Evidence is the logit for the second.
    plurals : pair of str
        Participants of each class, e.g. ``("females", "males")``.
    both : str
        The two together, e.g. ``"both sexes"``.
    apart : str
        What a model tells apart, e.g. ``"the sexes"``.
    pair : str
        The same in full, e.g. ``"female from male brains"``.
    correct : str
        The class that is true, e.g. ``"the correct sex"``.
    key : str
        What the AUC means here.
    spellings : dict
        Cell of participants.tsv, in lower case, to class, for a column that is read from there.
    """

    classes: tuple = ("negative", "positive")
    plurals: tuple = ("negatives", "positives")
    both: str = "both classes"
    apart: str = "the classes"
    pair: str = "negatives from positives"
    correct: str = "the correct class"
    key: str = ""
    spellings: dict = None

    kind = "classes"
    # The cross-entropy of two outputs depends on their difference only: the evidence.
    losses = {"cross_entropy": "binary_cross_entropy_with_logits"}
    main_score, main_title = "auc", "AUC"
    silent_at_chance = True

    @property
    def needed(self):
        """Required content of the column."""
        return " or ".join(self.classes)

    @property
    def balanced_by(self):
        """Variable over which parts are balanced, beside age."""
        return self.noun

    @property
    def full_part(self):
        """Required content of each part, as part of a sentence."""
        return self.both

    @property
    def words(self):
        """Words that captions and headings of figures contain."""
        return {
            "what": self.noun,
            "differ": f"{self.apart} differ",
            "alike": self.alike,
            "alike_error": self.alike_error,
            "effect": self.tested.removeprefix("the "),
            "tested": f"How much the probability of {self.correct} falls",
            "correct": self.correct,
            "short_effect": self.short_effect,
            "first": self.classes[0],
            "second": self.classes[1],
            "firsts": self.plurals[0],
            "seconds": self.plurals[1],
        }

    def decode(self, cells):
        """Return the class of each cell; None where it is unknown or not a class."""
        spellings = {name.casefold(): name for name in self.classes} | (self.spellings or {})
        return cells.map(lambda cell: spellings.get(str(cell).strip().casefold()))

    def code(self, cohort):
        """Return 1 for the second class and 0 for the first, shape (n,)."""
        return (cohort[self.column] == self.classes[1]).to_numpy().astype(int)

    def weighed(self, cohort):
        """Return the class of each row: both classes have equal weight in tests."""
        return self.code(cohort)

    @property
    def alike_kinds(self):
        """Names of the two kinds of people of `weighed`."""
        return self.classes

    @property
    def weigh_alike(self):
        """Groups of equal weight where regions are tested, as text."""
        return self.both

    def check(self, target, n_participants):
        """Return the target as int64 if it can be learnt from.

        Raises
        ------
        InputError
            If its length or its values are wrong, or there are no participants.
        """
        target = self.check_shape(target, n_participants)
        if not np.isin(target, (0, 1)).all():
            invalid = sorted(set(target[~np.isin(target, (0, 1))].tolist()))[:5]
            raise InputError(
                f"Found target values {invalid}, needed 1 for {self.classes[1]} and 0 for "
                f"{self.classes[0]}. Check the {self.column} column of cohort.tsv."
            )
        return target.astype(np.int64)

    def scale(self, target):
        """Return 0 and 1: a class is not scaled."""
        return 0.0, 1.0

    def weigh(self, target, weighting):
        """Return the weights of both classes; 1 and 1 where ``weighting`` is ``"none"``."""
        weights = balance(target, self.classes)
        return weights if weighting == "balanced" else (1.0, 1.0)

    def check_varied(self, target):
        """Raise InputError for a training part of one class."""
        balance(target, self.classes)

    def score(self, answer, target):
        """Return the AUC; None where one class is missing."""
        if len(np.unique(target)) < 2:
            return None
        from sklearn.metrics import roc_auc_score

        return float(roc_auc_score(target, answer))

    def strata(self, people):
        """Return the class of each person: parts are balanced over it, and hold both."""
        return people[self.column]

    def find_fault(self, values):
        """Return the reason why the values of a part cannot be used, or None."""
        if values.nunique() < 2:
            return f"only {values.iloc[0]} participants"
        return (
            None if len(values) >= self.fewest else f"only {count_noun(len(values), 'participant')}"
        )

    def sign(self, target):
        """Return 1 where positive evidence supports the truth, else -1."""
        return np.where(np.asarray(target) == 1, 1.0, -1.0)

    def effect(self, target, evidence, hidden):
        """Compute the drop of the probability of the correct class, in [-1, 1]."""
        from scipy.special import expit

        sign = self.sign(target)
        return expit(sign * evidence) - expit(sign * hidden)

    def arrays_of(self, rows):
        """Convert rows of predictions to the arguments of ``stats``.

        Parameters
        ----------
        rows : pandas.DataFrame
            Test rows of one model on one map, with ``family``.

        Returns
        -------
        dict
            target, logit, fold (one label per repeat and fold), group (families), participant.
        """
        return {
            "target": rows["target"].to_numpy(int),
            "logit": rows["evidence"].to_numpy(float),
            "fold": name_folds(rows),
            "group": rows["family"].to_numpy(str),
            "participant": rows["participant_id"].to_numpy(str),
        }

    def score_table(self, key, rows, study, factor):
        """Compute the scores of one model on one map: estimate, interval, permutation p.

        Parameters
        ----------
        key : tuple of str
            Model and map.
        rows : pandas.DataFrame
            Its test predictions.
        study : settings.Study
        factor : float
            Of the variance, as ``dependence.variance_factor`` gives it.

        Returns
        -------
        list of tuple
            Rows of the ``scores`` table.
        """
        from bids_sexclf.stats import resampling, scores

        arrays, table = self.arrays_of(rows), []
        target, logit, fold = (arrays[name] for name in ("target", "logit", "fold"))
        options = {"seed": study.random_seed, "fold": fold, "group": arrays["group"]}
        for score in scores.SCORES:
            function = getattr(scores, score)
            options["factor"] = 1.0 if score in scores.OF_LEVEL else factor
            low = high = null = p = np.nan
            if score not in scores.WITHOUT_INTERVAL:
                low, high = resampling.bootstrap(
                    function,
                    target,
                    logit,
                    n=study.bootstraps,
                    level=study.interval_level,
                    **options,
                )
            if score not in scores.WITHOUT_NULL:
                null, p = resampling.permutation(
                    function,
                    target,
                    logit,
                    n=study.permutations,
                    participant=arrays["participant"],
                    higher_is_better=score not in scores.LOWER_IS_BETTER,
                    **options,
                )
            people = len(np.unique(arrays["participant"]))
            value = function(target, logit, fold)
            row = (*key, score, "test", people, value, low, high, null, p)
            table.append((*row, options["factor"]))
        return table

    def compare(self, key, rows, baseline_rows, baseline, study, factor):
        """Compare one model with one baseline on the same participants and folds.

        Parameters
        ----------
        key : tuple of str
            Model and map.
        rows, baseline_rows : pandas.DataFrame
            Test predictions of the model, and those of the baseline.
        baseline : str
            Name of the baseline.
        study : settings.Study
        factor : float
            Of the variance, as ``dependence.variance_factor`` gives it.

        Returns
        -------
        list of tuple
            One row of the ``comparisons`` table.
        """
        from bids_sexclf.stats import confounds, resampling, scores

        joined = join_baseline(rows, baseline_rows)
        arrays = self.arrays_of(joined)
        options = {
            "fold": arrays["fold"],
            "group": arrays["group"],
            "n": study.bootstraps,
            "level": study.interval_level,
            "seed": study.random_seed,
            "factor": factor,
        }
        target, logit = arrays["target"], arrays["logit"]
        difference = confounds.explained_by(
            target, logit, joined["evidence_baseline"].to_numpy(float), **options
        )
        low, _ = resampling.bootstrap(scores.auc, target, logit, **options)
        people = joined["participant_id"].nunique()
        numbers = (difference[name] for name in ("difference", "low", "high", "p"))
        verdict = self.verdict(difference, low, scores.auc(target, logit, arrays["fold"]))
        return [(*key, baseline, "auc", people, *numbers, factor, verdict)]

    @staticmethod
    def verdict(difference, low, auc):
        """Return the verdict of a comparison, from its interval.

        Parameters
        ----------
        difference : dict
            Of `stats.confounds.explained_by`.
        low : float
            Lower bound of the model's own AUC.
        auc : float
            The model's own AUC.

        Returns
        -------
        {"above", "not above", "below", "chance"} or None
        """
        if np.isnan(difference["difference"]):
            return None
        # A score that does not vary has no interval: then judge the score itself.
        if (auc if np.isnan(low) else low) <= 0.5:
            return "chance"
        lower, upper = (
            difference["difference"] if np.isnan(difference[bound]) else difference[bound]
            for bound in ("low", "high")
        )
        return "above" if lower > 0 else "below" if upper < 0 else "not above"

    def associate(self, key, rows, study, covariates):
        """Test the association of a model's evidence with covariates, within each class.

        Parameters
        ----------
        key : tuple of str
            Model and map.
        rows : pandas.DataFrame
            Its test predictions with the covariates.
        study : settings.Study
        covariates : iterable of str

        Returns
        -------
        list of tuple
            Rows of the ``confounds`` table.
        """
        from bids_sexclf.stats import confounds

        table = []
        for name in covariates:
            known_rows = rows.dropna(subset=[name])
            counts = known_rows.groupby("target")["participant_id"].nunique()
            if counts.reindex([0, 1]).fillna(0).min() < 4:
                continue
            arrays = self.arrays_of(known_rows)
            result = confounds.partial_association(
                arrays["logit"],
                arrays["target"],
                known_rows[name].to_numpy(float),
                group=arrays["group"],
                fold=arrays["fold"],
                n=study.permutations,
                seed=study.random_seed,
            )
            people = [*counts.reindex([0, 1]), known_rows["participant_id"].nunique()]
            parts = ("negative", "positive", "pooled")
            for within, part, n in zip((*self.classes, "both"), parts, people, strict=True):
                table.append((*key, name, within, n, result[part]["rho"], result[part]["p"]))
        return table
