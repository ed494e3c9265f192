"""Regression on columns of the cohort table: the baselines of networks."""

import numpy as np

from bids_sexclf import targets
from bids_sexclf.errors import InputError
from bids_sexclf.settings import Study
from bids_sexclf.training import cards


def classifier(entry, columns):
    """Make the classifier of a catalogue entry that reads the cohort table.

    Parameters
    ----------
    entry : str
        ``__name__`` of the entry.
    columns : tuple of str
        What it reads.

    Returns
    -------
    type
        A ``TableClassifier`` of these columns.
    """
    members = {
        "columns": tuple(columns),
        "design": entry.rpartition(".")[2],
        "__module__": entry,
        "__doc__": TableClassifier.__doc__,
    }
    return type("Classifier", (TableClassifier,), members)


class TableClassifier:
    """A regression of the target on columns, standardised by the training part.

    Evidence is linear in every column: logistic regression (L2, C = 1) for sex, least squares for
    age.

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
        self.numbers = None

    def fit(self, inputs, target, validation, *, seed, folder=None, progress=None):
        """Estimate the coefficients.

        Parameters
        ----------
        inputs : ndarray, shape (n, k)
            Columns of the training part, in their own units.
        target : ndarray, shape (n,)
            1 for male, 0 for female; or ages, years.
        validation, seed, folder, progress
            Not used: the solution is unique.

        Returns
        -------
        TableClassifier
            Itself.

        Raises
        ------
        InputError
            If values are unknown, or all have one sex or age.

        Notes
        -----
        Participants have the weight n / (2 n_sex) if sex is the target, as in the networks.
        """
        from sklearn.linear_model import LinearRegression, LogisticRegression
        from sklearn.preprocessing import StandardScaler

        inputs, goal = self._check_inputs(inputs), targets.find(self.study.target)
        target = goal.check(target, len(inputs))
        goal.check_varied(target)
        scaler = StandardScaler().fit(inputs)
        if goal.is_classes:
            regression = LogisticRegression(class_weight=dict(enumerate(targets.balance(target))))
        else:
            regression = LinearRegression()
        regression.fit(scaler.transform(inputs), target)
        self.numbers = {
            "centre": scaler.mean_.tolist(),
            "scale": scaler.scale_.tolist(),
            "coefficients": np.ravel(regression.coef_).tolist(),
            "intercept": float(np.ravel(regression.intercept_)[0]),
        }
        return self

    def evidence(self, inputs):
        """Return the logit for male, or the age, of each participant.

        Parameters
        ----------
        inputs : ndarray, shape (n, k)
            Columns, in the units they were fitted in.

        Returns
        -------
        ndarray of float64, shape (n,)
            Logits; positive speaks for male. Years where the target is age.

        Raises
        ------
        InputError
            If it is not fitted, or values are unknown.
        """
        self._check_fitted()
        centre, scale, coefficients = (
            np.asarray(self.numbers[key]) for key in ("centre", "scale", "coefficients")
        )
        standardized = (self._check_inputs(inputs) - centre) / scale
        return (standardized * coefficients).sum(1) + self.numbers["intercept"]

    def save(self, folder):
        """Save the coefficients as ``model.json``.

        Parameters
        ----------
        folder : path-like
            Made where it is missing.

        Raises
        ------
        InputError
            If it is not fitted.
        """
        self._check_fitted()
        content = {"columns": list(self.columns), "target": self.study.target} | self.numbers
        cards.write_card(folder, self.design, content)

    @classmethod
    def load(cls, folder):
        """Load a saved classifier; its evidence is identical to the last bit.

        Parameters
        ----------
        folder : path-like
            What ``save`` was given.

        Returns
        -------
        TableClassifier

        Raises
        ------
        InputError
            If the file is absent, damaged, or of another design.
        """
        card = cards.read_card(folder, cls.design)
        wanted = ("centre", "scale", "coefficients", "intercept")
        missing = [key for key in (*wanted, "target") if key not in card]
        if missing:
            raise InputError(
                f"Found a {cards.CARD} in {folder} without {', '.join(missing)}, needed a saved "
                f"{cls.design!r}. Run the fit stage again."
            )
        loaded = cls(Study(target=card["target"]))
        loaded.numbers = {key: card[key] for key in wanted}
        return loaded

    def _check_fitted(self):
        if self.numbers is None:
            raise InputError(
                f"Found a {self.design!r} without coefficients, needed a fitted one. Call fit or "
                "load."
            )

    def _check_inputs(self, inputs):
        inputs = np.asarray(inputs, dtype=np.float64)
        if inputs.ndim != 2 or inputs.shape[1] != len(self.columns):
            raise InputError(
                f"Found values of shape {inputs.shape}, needed one column each for "
                f"{', '.join(self.columns)}. Take them from cohort.tsv."
            )
        unknown = (~np.isfinite(inputs)).sum(0)
        if unknown.any():
            counts = ", ".join(
                f"{column} of {count}"
                for column, count in zip(self.columns, unknown, strict=True)
                if count
            )
            raise InputError(
                f"Found unknown values among {len(inputs)} participants ({counts}), needed all "
                f"known. Complete them, or leave {self.design!r} out of the study's models."
            )
        return inputs
