"""The common part of classifiers of features: unknown values, scaling, nested search, saving."""

from abc import ABC, abstractmethod

import numpy as np

from bids_sexclf import targets
from bids_sexclf.errors import InputError
from bids_sexclf.settings import Study
from bids_sexclf.training import cards, search


def unpack(inputs):
    """Return the values and the names of features.

    Parameters
    ----------
    inputs : features.Features or array-like, shape (n, k)

    Returns
    -------
    values : ndarray of float64, shape (n, k)
    names : list of str

    Raises
    ------
    InputError
        If there are no columns, or infinite numbers.
    """
    names = getattr(inputs, "names", None)
    values = np.asarray(getattr(inputs, "values", inputs), dtype=np.float64)
    if values.ndim != 2 or values.shape[1] == 0 or np.isinf(values).any():
        raise InputError(
            f"Found features of shape {values.shape}, {int(np.isinf(values).sum())} of them "
            "infinite; needed participants × features, finite or unknown. Correct the table."
        )
    return values, list(names or (f"feature {number + 1}" for number in range(values.shape[1])))


def learn_scale(values):
    """Compute medians, centres and scales of features in the training part.

    Parameters
    ----------
    values : ndarray, shape (n, k)
        ``nan`` where unknown.

    Returns
    -------
    median, centre, scale : ndarray, shape (k,)
        Value that replaces unknown ones (0 if all are unknown); mean and standard deviation
        afterwards, the latter 1 where a feature does not vary.
    """
    finite = np.isfinite(values)
    median = np.zeros(values.shape[1])
    has_values = finite.any(0)
    median[has_values] = np.nanmedian(values[:, has_values], axis=0)
    filled = np.where(finite, values, median)
    centre, scale = filled.mean(0), filled.std(0)
    flat = scale <= 1e-12 * np.maximum(np.abs(centre), 1)
    return median, centre, np.where(flat, 1.0, scale)


def standardize(values, median, centre, scale):
    """Fill, centre and scale features with the result of `learn_scale`."""
    return (np.where(np.isfinite(values), values, median) - centre) / scale


class FeatureClassifier(ABC):
    """A classifier of sex, or a regression of age, on a table of numbers.

    Unknown values become the median of the training part, then every feature is centred and
    scaled by the training part. Settings are searched in inner folds of the training part, in
    which medians, centres and scales are computed again; the setting with the highest mean AUC,
    or the lowest mean absolute error in years, is used. The validation part is not used, unless an
    entry states otherwise.

    Parameters
    ----------
    study : settings.Study
        ``target`` is read.

    Attributes
    ----------
    history : list
        Empty: there are no epochs.
    inner_score : float or None
        Of the settings that were chosen, over the inner folds: AUC, or mean absolute error in
        years. None where nothing was searched.
    importances : list of dict
        ``feature``, ``kind``, ``importance`` and ``n_imputed`` (training participants of whom
        the feature is unknown) of every feature.
    """

    kinds = ("classes", "quantity")
    design = None
    kind = None
    """What its importances are; a level of the column ``kind`` of importances.tsv."""

    def __init__(self, study):
        self.study, self.target = study, study.target
        self.history, self.importances = [], []
        self.names = self.state = None
        self.chosen, self.inner_score = {}, None

    @abstractmethod
    def grid(self, n_participants):
        """List the settings to search, the simplest first."""

    @abstractmethod
    def learn(self, values, target, setting, seed):
        """Fit a model on scaled features; return its state for `answer`."""

    @abstractmethod
    def answer(self, state, values):
        """Return logits, or years, of scaled features."""

    @abstractmethod
    def weigh(self, validation, seed):
        """Return the importance of each feature, shape (k,)."""

    def fit(self, inputs, target, validation, *, seed, folder=None, progress=None, groups=None):
        """Search the settings, then fit on the whole training part.

        Parameters
        ----------
        inputs : features.Features or ndarray, shape (n, k)
            The training part, in its own units; ``nan`` where unknown.
        target : ndarray, shape (n,)
            1 for male, 0 for female; or ages, years.
        validation : tuple
            Inputs and target of the validation part.
        seed : int
            Deals the inner folds.
        folder, progress
            Not read.
        groups : array-like, shape (n,), optional
            Families, which inner folds never separate.

        Returns
        -------
        FeatureClassifier
            Itself.

        Raises
        ------
        InputError
            If all have one sex or age, or the features cannot be read.
        """
        values, self.names = unpack(inputs)
        kind = self.target
        target = targets.find(kind).check(target, len(values))
        targets.find(kind).check_varied(target)
        folds = search.deal(target, groups, seed, kind=kind)

        def attempt(setting, learn, judge):
            scale = learn_scale(values[learn])
            state = self.learn(standardize(values[learn], *scale), target[learn], setting, seed)
            return self.answer(state, standardize(values[judge], *scale))

        grid = self.grid(len(values))
        self.chosen, self.inner_score = search.choose(grid, attempt, target, folds, kind)
        scale = learn_scale(values)
        self.state = self.learn(standardize(values, *scale), target, self.chosen, seed)
        self.state |= dict(zip(("median", "centre", "scale"), scale, strict=True))
        unknown = (~np.isfinite(values)).sum(0)
        weights = self.weigh(validation, seed)
        self.importances = [
            {
                "feature": name,
                "kind": self.kind,
                "importance": float(weight),
                "n_imputed": int(count),
            }
            for name, weight, count in zip(self.names, weights, unknown, strict=True)
        ]
        return self

    def evidence(self, inputs):
        """Return the logit for male, or the age, of each participant.

        Parameters
        ----------
        inputs : features.Features or ndarray, shape (n, k)
            The features it was fitted on, in the same order.

        Returns
        -------
        ndarray of float64, shape (n,)
            Logits; positive speaks for male. Years where the target is age.

        Raises
        ------
        InputError
            If it is not fitted, or the features differ.
        """
        self._check_fitted()
        values, names = unpack(inputs)
        if names != self.names:
            lacking = [name for name in self.names if name not in names] or names
            raise InputError(
                f"Found {len(names)} features where {self.design!r} was fitted on "
                f"{len(self.names)} ({', '.join(lacking[:3])}, …); needed the same in the same "
                "order. Make the table as it was made for the fit."
            )
        scale = (self.state[key] for key in ("median", "centre", "scale"))
        return self.answer(self.state, standardize(values, *scale))

    def save(self, folder):
        """Save the card ``model.json``, and arrays beside it.

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
        self.save_arrays(folder)
        numbers = {
            key: value.tolist() if isinstance(value, np.ndarray) else value
            for key, value in self.state.items()
            if key not in self.apart
        }
        cards.write_card(
            folder,
            self.design,
            {
                "target": self.target,
                "features": self.names,
                "chosen": self.chosen,
                "inner_score": self.inner_score,
                "importances": self.importances,
                "state": numbers,
            },
            self.array_files,
        )

    apart = ()
    """Keys of the state that ``save_arrays`` keeps in files of their own."""

    array_files = ()
    """Names of these files."""

    def save_arrays(self, folder):  # noqa: B027 - most entries have nothing to add
        """Save the arrays beside the card."""

    def load_arrays(self, folder):
        """Load the arrays beside the card: a dict."""
        return {}

    @classmethod
    def load(cls, folder):
        """Load a saved classifier; its evidence is identical to the last bit.

        Parameters
        ----------
        folder : path-like
            What ``save`` was given.

        Returns
        -------
        FeatureClassifier

        Raises
        ------
        InputError
            If files are absent, damaged, or of another design.
        """
        card = cards.read_card(folder, cls.design)
        try:
            loaded = cls(Study(target=card["target"]))
            loaded.names, loaded.chosen = list(card["features"]), card["chosen"]
            loaded.inner_score, loaded.importances = card["inner_score"], card["importances"]
            loaded.state = {
                key: np.asarray(value, dtype=np.float64) if isinstance(value, list) else value
                for key, value in card["state"].items()
            } | loaded.load_arrays(folder)
        except Exception as fault:  # each format has kinds of errors of its own
            raise InputError(
                f"Found {folder}, which does not hold a saved {cls.design!r} ({fault}); needed "
                "what save wrote. Run the fit stage again."
            ) from fault
        return loaded

    def _check_fitted(self):
        if self.state is None:
            raise InputError(
                f"Found a {self.design!r} without a fit, needed a fitted one. Call fit or load."
            )
