"""Support vector machine with a Gaussian kernel on the voxels of a map (Kan et al. 2020).

Evidence is the distance from the boundary, converted to logits by Platt's scaling: a line fitted,
with equal weight of both sexes, to distances of participants in inner test folds. For age, it is
support vector regression (Smola & Schölkopf 2004): errors below a tenth of the standard deviation
of ages have no cost, and evidence is in years.

A saved machine contains the volumes of its support vectors, which are training participants: it is
as confidential as they are.

References
----------
Platt JC. Probabilities for SV machines. Advances in Large-Margin Classifiers, MIT Press 2000.
doi:10.7551/mitpress/1113.003.0008

Smola AJ, Schölkopf B. A tutorial on support vector regression. Stat Comput 2004.
doi:10.1023/B:STCO.0000035301.49549.88
"""

import json
from pathlib import Path

import numpy as np

from bids_sexclf import targets
from bids_sexclf.disk import whole
from bids_sexclf.errors import InputError
from bids_sexclf.settings import Study
from bids_sexclf.training import cards, search, standardize

READS = "volumes"
NESTED = True
SAYS = {
    "classes": "a support vector machine with a Gaussian kernel on voxels, whose distances became "
    "logits by Platt's scaling [@platt2000]",
    "quantity": "support vector regression of the standardised {what} with a Gaussian kernel on "
    "voxels [@smola2004]",
}
FILE = "support.safetensors"
MEMORY = 2**28
"""Bytes of volumes in double precision that are held at a time."""
COSTS = (1.0, 10.0, 100.0)
WIDTHS = (0.1, 0.3, 1.0, 3.0)
FREE = 0.1
"""Error of an age that costs nothing, standard deviations of the ages."""
LEAST_SLOPE = 1e-2
"""Smallest slope of Platt's line: one that falls would say that far on one side means the other."""


class Classifier:
    """Support vector classification of sex, or regression of age, on the voxels of a map.

    Parameters
    ----------
    study : settings.Study
        ``standardize`` and ``target`` are read.
    C : float, optional
        Cost of a participant on the wrong side, or of an error of one standard deviation of the
        ages; by default 1, 10 and 100 are tried.
    gamma : float, optional
        Width of the kernel exp(-gamma d² / median d²), where d is the distance of two volumes and
        the median is over pairs of training participants; by default 0.1 to 3 are tried.

    Attributes
    ----------
    history : list
        Empty: there are no epochs.

    Notes
    -----
    Distances are summed over blocks of participants read from the mapped cohort: memory holds two
    blocks and the matrix of distances, n × n, whatever the number of voxels.
    """

    kinds = ("classes", "quantity")

    def __init__(self, study, C=None, gamma=None):
        self.study, self.C, self.gamma = study, C, gamma
        self.history = []
        self.card = self.scale = self.support = None

    def fit(self, inputs, target, validation, *, seed, folder=None, progress=None, groups=None):
        """Search C and gamma in inner folds of the training part, then fit the whole part.

        Parameters
        ----------
        inputs : volumes.Rows or ndarray, shape (n, X, Y, Z)
            The training part, raw.
        target : ndarray, shape (n,)
            1 for male, 0 for female; or ages, years.
        validation, folder, progress
            Not read.
        seed : int
            Deals the inner folds.
        groups : array-like, shape (n,), optional
            Families, which inner folds never separate.

        Returns
        -------
        Classifier
            Itself.

        Raises
        ------
        InputError
            If all have one sex or age, or volumes cannot be standardised.
        """
        kind = self.study.target
        goal = targets.find(kind)
        target = goal.check(target, len(inputs))
        goal.check_varied(target)
        self.scale = standardize.learn(inputs, self.study.standardize)
        voxels = _varying(inputs)
        train = _Volumes(inputs, voxels, self.scale)
        squared = _distances(train)
        unit = float(np.median(squared[np.triu_indices(len(squared), 1)])) or 1.0
        folds = search.deal(target, groups, seed, kind=kind)

        def attempt(setting, learn, judge):
            near = squared[np.ix_(learn, learn)] / unit
            machine, spread, shift = _machine(near, target[learn], setting, kind)
            kernel = np.exp(-setting["gamma"] * squared[np.ix_(judge, learn)] / unit)
            ask = machine.decision_function if goal.is_classes else machine.predict
            return spread * ask(kernel) + shift

        chosen, inner = search.choose(self._grid(), attempt, target, folds, kind)
        machine, slope, offset = _machine(squared / unit, target, chosen, kind)
        if goal.is_classes:
            slope, offset = _platt(chosen, attempt, target, folds)
        self.support = train.only(machine.support_)
        self.card = {
            "target": kind,
            "standardize": self.study.standardize,
            "grid": list(inputs.shape[1:]),
            "chosen": chosen,
            "inner_score": inner,
            "unit": unit,
            "slope": slope,
            "offset": offset,
            "weights": machine.dual_coef_[0].tolist(),
            "intercept": float(machine.intercept_[0]),
        }
        return self

    def _grid(self):
        costs = COSTS if self.C is None else (float(self.C),)
        widths = WIDTHS if self.gamma is None else (float(self.gamma),)
        return [{"C": cost, "gamma": width} for width in widths for cost in costs]

    def evidence(self, inputs):
        """Return the logit for male, or the age, of each participant.

        The evidence of a participant does not depend on other participants, to the last bit.

        Parameters
        ----------
        inputs : volumes.Rows or ndarray, shape (n, X, Y, Z)
            Raw volumes on the grid of the training part.

        Returns
        -------
        ndarray of float64, shape (n,)
            Logits; positive speaks for male. Years where the target is age.

        Raises
        ------
        InputError
            If it is not fitted, the grid is another, or voxels are not finite.
        """
        self._check_fitted()
        if tuple(inputs.shape[1:]) != tuple(self.card["grid"]):
            raise InputError(
                f"Found volumes of shape {tuple(inputs.shape[1:])}, needed "
                f"{tuple(self.card['grid'])}, the grid 'svm_rbf' was trained on. Prepare them on "
                "the grid of the model."
            )
        tested = _Volumes(inputs, self.support.where, self.scale)
        weights = np.asarray(self.card["weights"])
        gamma = self.card["chosen"]["gamma"] / self.card["unit"]
        sums = np.zeros(len(inputs))
        for mine in tested.blocks():
            volumes = tested.read(mine)
            for theirs in self.support.blocks():
                support = self.support.read(theirs)
                norms = (support**2).sum(1)
                for place, volume in zip(mine, volumes, strict=True):
                    squared = np.maximum(norms + (volume**2).sum() - 2 * (support @ volume), 0)
                    sums[place] += (weights[theirs] * np.exp(-gamma * squared)).sum()
        logits = self.card["slope"] * (sums + self.card["intercept"]) + self.card["offset"]
        if not np.isfinite(logits).all():
            raise InputError(
                f"Found {(~np.isfinite(logits)).sum()} of {len(logits)} volumes that give no "
                "finite evidence, needed finite voxels. Make these maps again."
            )
        return logits

    def save(self, folder):
        """Save the support vectors, then the card.

        Parameters
        ----------
        folder : path-like
            Gets ``support.safetensors`` and, last, ``model.json``.

        Raises
        ------
        InputError
            If it is not fitted.
        """
        self._check_fitted()
        _write_support(self.support, self.scale, Path(folder) / FILE)
        cards.write_card(folder, "svm_rbf", self.card, [FILE])

    @classmethod
    def load(cls, folder):
        """Load a saved classifier; its evidence is identical to the last bit.

        Parameters
        ----------
        folder : path-like
            What ``save`` was given; volumes at the boundary are read from it when they are needed.

        Returns
        -------
        Classifier

        Raises
        ------
        InputError
            If files are absent, damaged, or of another design.
        """
        from safetensors import safe_open

        card, path = cards.read_card(folder, "svm_rbf"), Path(folder) / FILE
        try:
            loaded = cls(Study(target=card["target"], standardize=card["standardize"]))
            with safe_open(path, "numpy") as file:
                loaded.scale = file.get_tensor("centre"), file.get_tensor("scale")
                loaded.support = _Saved(path, file.get_tensor("where"), len(card["weights"]))
        except Exception as fault:  # safetensors raises a kind of its own on a damaged file
            raise InputError(
                f"Found {path}, which does not hold the volumes of 'svm_rbf' ({fault}); needed the "
                "ones saved beside its model.json. Run the fit stage again."
            ) from fault
        loaded.card = card
        return loaded

    def _check_fitted(self):
        if self.card is None:
            raise InputError(
                "Found a 'svm_rbf' without a boundary, needed a fitted one. Call fit or load."
            )


class _Blocks:
    """Base of volumes that are read in blocks, as rows of standardised voxels."""

    def __init__(self, voxels, count):
        self.where, self.count = voxels, count

    def __len__(self):
        return self.count

    def blocks(self):
        """Yield the indices of each block."""
        size = max(1, MEMORY // (8 * max(1, len(self.where))))
        return [np.arange(at, min(at + size, self.count)) for at in range(0, self.count, size)]

    def read(self, places):
        """Return rows in double precision, shape (k, voxels), with the precision of the file."""
        return self.single(places).astype(np.float64)


class _Volumes(_Blocks):
    """Rows of a cohort, standardised, without constant voxels."""

    def __init__(self, rows, voxels, scale, index=None):
        self.index = np.arange(len(rows)) if index is None else index
        super().__init__(voxels, len(self.index))
        self.rows, self.scale = rows, scale

    def only(self, index):
        """Return some of the rows."""
        return _Volumes(self.rows, self.where, self.scale, self.index[index])

    def single(self, places):
        """Return rows in single precision."""
        centre, scale = (np.asarray(one) for one in self.scale)
        flat = np.empty((len(places), len(self.where)), np.float32)
        for row, place in enumerate(places):
            volume = np.asarray(self.rows[int(self.index[place])])
            flat[row] = ((volume - centre) / scale).reshape(-1)[self.where]
        return flat


class _Saved(_Blocks):
    """Rows of a saved machine, which are read from its file on access."""

    def __init__(self, path, voxels, count):
        super().__init__(voxels, count)
        self.path = path

    def single(self, places):
        """Return rows in single precision."""
        from safetensors import safe_open

        with safe_open(self.path, "numpy") as file:
            return file.get_slice("support")[int(places[0]) : int(places[-1]) + 1]


def _varying(rows):
    """Return the indices of voxels that vary over rows, in the flattened volume."""
    first = np.asarray(rows[0]).ravel()
    varies = np.zeros(first.shape, bool)
    for index in range(1, len(rows)):
        varies |= np.asarray(rows[index]).ravel() != first
    return np.flatnonzero(varies).astype(np.int64)


def _distances(volumes):
    """Return the squared distance of each pair, shape (n, n), block by block."""
    product = np.empty((len(volumes), len(volumes)))
    blocks = volumes.blocks()
    for number, mine in enumerate(blocks):
        block = volumes.read(mine)
        product[np.ix_(mine, mine)] = block @ block.T
        for theirs in blocks[:number]:
            part = block @ volumes.read(theirs).T
            product[np.ix_(mine, theirs)], product[np.ix_(theirs, mine)] = part, part.T
    norms = np.diag(product)
    squared = np.maximum(norms[:, None] + norms - 2 * product, 0)
    np.fill_diagonal(squared, 0)
    return squared


def _machine(squared, target, setting, kind):
    """Fit the machine to squared distances; return it with scale and shift of the ages."""
    from sklearn.svm import SVC, SVR

    goal = targets.find(kind)
    shift, spread = goal.scale(target)
    if goal.is_classes:
        machine = SVC(C=setting["C"], kernel="precomputed", class_weight="balanced")
    else:
        target = (target - shift) / spread
        machine = SVR(C=setting["C"], kernel="precomputed", epsilon=FREE)
    return machine.fit(np.exp(-setting["gamma"] * squared), target), spread, shift


def _platt(setting, attempt, target, folds):
    """Fit the line from distances to logits, on participants of inner test folds."""
    from sklearn.linear_model import LogisticRegression

    if not folds:
        return 1.0, 0.0
    distances = np.concatenate([attempt(setting, learn, judge) for learn, judge in folds])
    truth = np.concatenate([target[judge] for _, judge in folds])
    line = LogisticRegression(C=1e3, class_weight="balanced", max_iter=1000)
    line.fit(distances[:, None], truth)
    return max(float(line.coef_[0, 0]), LEAST_SLOPE), float(line.intercept_[0])


def _write_support(support, scale, path):
    """Write the support vectors block by block, in the safetensors format.

    The writer of the library would need all of them in memory.
    """
    centre, spread = (np.asarray(one, np.float32) for one in scale)
    voxels = np.ascontiguousarray(support.where, np.int64)
    shapes = {
        "where": ("I64", voxels.shape, voxels.nbytes),
        "centre": ("F32", centre.shape, centre.nbytes),
        "scale": ("F32", spread.shape, spread.nbytes),
        "support": ("F32", (len(support), len(voxels)), 4 * len(support) * len(voxels)),
    }
    header, at = {}, 0
    for name, (kind, shape, size) in shapes.items():
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with whole(path) as part, open(part, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in (voxels, centre, spread):
            file.write(array.tobytes())
        for places in support.blocks():
            file.write(support.single(places).tobytes())
