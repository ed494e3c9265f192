"""Targets that are a quantity: evidence is the quantity that a model predicts."""

from dataclasses import dataclass

import numpy as np

from bids_sexclf.errors import InputError
from bids_sexclf.targets._base import Target, join_baseline, name_folds
from bids_sexclf.targets._quantity_sentences import QuantitySentences
from bids_sexclf.texts import count_noun


@dataclass(frozen=True)
class Quantity(QuantitySentences, Target):
    """A quantity, learnt by squared error and scored by the mean absolute error.

    Attributes
    ----------
    unit : str
        Its unit, e.g. ``"years"``.
    per_unit : str
        How much the error leans, e.g. ``"years per year of age"``.
    small, large : str
        Who has little and who has much of it, e.g. ``"the young"`` and ``"the old"``.
    smaller, larger : str
        The comparatives, e.g. ``"younger"`` and ``"older"``.
    lowest : float
        Lowest value that there can be.
    values : str
        Its values, e.g. ``"ages"``.
    one_value : str
        What a part without variation is of, e.g. ``"one age"``.
    """

    unit: str = ""
    per_unit: str = ""
    small: str = "small ones"
    large: str = "large ones"
    smaller: str = "smaller"
    larger: str = "larger"
    lowest: float = -np.inf
    values: str = "values"
    one_value: str = "one value"

    kind = "quantity"
    losses = {"mse": "mse_loss", "l1": "l1_loss"}
    main_score, outputs, fewest = "mae", 1, 3

    @property
    def main_title(self):
        """Title of the main score."""
        return f"error in {self.unit}"

    @property
    def needed(self):
        """Required content of the column."""
        return self.unit

    @property
    def full_part(self):
        """Required content of each part, as part of a sentence."""
        return f"{self.fewest} people or more"

    @property
    def words(self):
        """Words that captions and headings of figures contain."""
        return {
            "what": self.noun,
            "differ": f"{self.noun} shows",
            "alike": self.alike,
            "alike_error": self.alike_error,
            "effect": self.tested.removeprefix("the "),
            "tested": "How much the absolute error rises",
            "correct": f"the true {self.noun}",
            "short_effect": self.short_effect,
            "unit": self.unit,
        }

    def decode(self, cells):
        """Return the number of each cell; nan where it is unknown or not a number."""
        import pandas as pd

        return pd.to_numeric(cells, errors="coerce")

    def code(self, cohort):
        """Return the quantity of each row, shape (n,)."""
        return cohort[self.column].to_numpy(float)

    def check(self, target, n_participants):
        """Return the target as float64 if it can be learnt from.

        Raises
        ------
        InputError
            If its length or its values are wrong, or there are no participants.
        """
        target = self.check_shape(target, n_participants).astype(np.float64)
        bad = ~np.isfinite(target) | (target < self.lowest)
        if bad.any():
            negative = " or negative" if self.lowest == 0 else ""
            raise InputError(
                f"Found {int(bad.sum())} of {len(target)} {self.values} that are "
                f"unknown{negative}, needed {self.unit}. Check the {self.column} column of "
                "cohort.tsv."
            )
        return target

    def scale(self, target):
        """Return mean and standard deviation of the training part.

        Raises
        ------
        InputError
            If all values are equal.
        """
        if np.ptp(target) == 0:
            raise InputError(
                f"Found {len(target)} training participants of {self.one_value} ({target[0]:g} "
                f"{self.unit}), needed several {self.values}. Add participants, or study another "
                "target."
            )
        return float(target.mean()), float(target.std())

    def weigh(self, target, weighting):
        """Return 1 and 1: all participants have equal weight."""
        return 1.0, 1.0

    def check_varied(self, target):
        """Raise InputError for a training part in which all values are equal."""
        self.scale(target)

    def score(self, answer, target):
        """Return the mean absolute error, in the unit of the target."""
        return float(np.abs(answer - target).mean())

    def find_fault(self, values):
        """Return the reason why the values of a part cannot be used, or None."""
        return (
            None if len(values) >= self.fewest else f"only {count_noun(len(values), 'participant')}"
        )

    def sign(self, target):
        """Return 1 for everyone: positive values always mean more of the quantity."""
        return np.ones(len(target))

    def effect(self, target, evidence, hidden):
        """Compute the increase of the absolute error, in the unit of the target."""
        target = np.asarray(target, float)
        return np.abs(hidden - target) - np.abs(evidence - target)

    def arrays_of(self, rows):
        """Convert rows of predictions to the arguments of ``stats.regression``.

        Parameters
        ----------
        rows : pandas.DataFrame
            Test rows of one model on one map, with ``family``.

        Returns
        -------
        dict
            target and prediction (in the unit of the target), fold, group (families).
        """
        return {
            "target": rows["target"].to_numpy(float),
            "prediction": rows["evidence"].to_numpy(float),
            "fold": name_folds(rows),
            "group": rows["family"].to_numpy(str),
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
        from bids_sexclf.stats import regression

        arrays, table = self.arrays_of(rows), []
        people = rows["participant_id"].to_numpy(str)
        options = {"seed": study.random_seed, "factor": factor}
        for name in regression.SCORES:
            score, null, p = getattr(regression, name), np.nan, np.nan
            low, high = regression.bootstrap(
                score, **arrays, n=study.bootstraps, level=study.interval_level, **options
            )
            if name not in regression.WITHOUT_NULL:
                null, p = regression.permutation(
                    score, **arrays, participant=people, n=study.permutations, **options
                )
            value = score(arrays["target"], arrays["prediction"])
            row = (*key, name, "test", len(np.unique(people)), value, low, high, null, p, factor)
            table.append(row)
        return table

    def compare(self, key, rows, baseline_rows, baseline, study, factor):
        """Compare the error of one model with that of a baseline, on the same participants.

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
            One row of the ``comparisons`` table; a negative difference is better.
        """
        from bids_sexclf.stats import regression

        joined = join_baseline(rows, baseline_rows)
        arrays = self.arrays_of(joined)
        result = regression.compare(
            arrays["target"],
            arrays["prediction"],
            joined["evidence_baseline"].to_numpy(float),
            group=arrays["group"],
            n=study.bootstraps,
            level=study.interval_level,
            seed=study.random_seed,
            factor=factor,
        )
        numbers = (result[name] for name in ("difference", "low", "high", "p"))
        people = joined["participant_id"].nunique()
        return [(*key, baseline, "mae", people, *numbers, factor, self.verdict(result))]

    @staticmethod
    def verdict(difference):
        """Return the verdict of a difference of errors, from its interval.

        Parameters
        ----------
        difference : dict
            Of ``stats.regression.compare``.

        Returns
        -------
        {"above", "not above", "below"} or None

        Examples
        --------
        >>> Quantity.verdict({"low": -3.0, "high": -1.0}), Quantity.verdict({"low": -3, "high": 1})
        ('above', 'not above')
        """
        if np.isnan(difference["low"]):
            return None
        if difference["high"] < 0:
            return "above"
        return "below" if difference["low"] > 0 else "not above"

    def associate(self, key, rows, study, covariates):
        """Test the association of a model's error with covariates, given the truth.

        The error (prediction minus truth) correlates with the truth, and so do covariates. If the
        truth were not removed from both, every model that shrinks to the mean would seem to depend
        on brain volume. People are compared within their sex.

        Parameters
        ----------
        key : tuple of str
            Model and map.
        rows : pandas.DataFrame
            Its test predictions with the covariates and ``sex``.
        study : settings.Study
        covariates : iterable of str

        Returns
        -------
        list of tuple
            Rows of the ``confounds`` table, within each sex and pooled.
        """
        from bids_sexclf.stats import confounds

        table = []
        for name in (name for name in covariates if name != self.column):
            known_rows = rows.dropna(subset=[name])
            counts = known_rows.groupby("sex")["participant_id"].nunique()
            if counts.reindex(["female", "male"]).fillna(0).min() < 4:
                continue
            arrays = self.arrays_of(known_rows)
            result = confounds.partial_association(
                arrays["prediction"] - arrays["target"],
                (known_rows["sex"] == "male").to_numpy(int),
                known_rows[name].to_numpy(float),
                group=arrays["group"],
                fold=arrays["fold"],
                n=study.permutations,
                seed=study.random_seed,
                beside=arrays["target"],
            )
            people = [counts["female"], counts["male"], known_rows["participant_id"].nunique()]
            parts = (("female", "negative"), ("male", "positive"), ("both", "pooled"))
            for (within, part), n in zip(parts, people, strict=True):
                table.append((*key, name, within, n, result[part]["rho"], result[part]["p"]))
        return table
