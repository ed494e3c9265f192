"""Nearest neighbours in a feature table: sexes or ages of the nearest training participants.

Evidence of sex is the log ratio of the shares of both sexes among the neighbours, with half a
neighbour added to each: log((k_male + 1/2) / n_male) - log((k_female + 1/2) / n_female), where n
counts the training part, so that both sexes have equal weight. Evidence of age is the mean of the
neighbours.

A saved model contains the features of its training participants: it is as confidential as they are.
"""

from pathlib import Path

import numpy as np

from bids_sexclf import targets
from bids_sexclf.disk import whole
from bids_sexclf.models._features import FeatureClassifier, standardize, unpack
from bids_sexclf.seeds import stream

READS = "features"
NESTED = True
SAYS = {
    "classes": "the nearest neighbours",
    "quantity": "the mean {what} of the nearest neighbours",
}
SEARCHED = (31, 21, 15, 9, 5, 3)
SHUFFLES = 5
FILE = "neighbours.safetensors"


class Classifier(FeatureClassifier):
    """A classifier by the nearest training participants (Euclidean distance of scaled features).

    Parameters
    ----------
    study : settings.Study
    neighbours : int, optional
        How many; by default 3 to 31 are tried in inner folds.

    Notes
    -----
    Importances are the fall of the AUC, or the rise of the mean absolute error in years, on the
    validation part when a feature's values are exchanged between participants: the mean of 5
    shuffles; 0 where validation holds one sex, or nobody.
    """

    design = "knn"
    kind = "permutation"
    apart = ("neighbours", "targets")
    array_files = (FILE,)

    def __init__(self, study, neighbours=None):
        super().__init__(study)
        self.neighbours = neighbours

    def grid(self, n_participants):
        """List the numbers of neighbours to search, the largest first."""
        counts = SEARCHED if self.neighbours is None else (int(self.neighbours),)
        fit = [count for count in counts if count <= n_participants // 2] or [min(counts)]
        return [{"neighbours": count} for count in fit]

    def learn(self, values, target, setting, seed):
        """Return the training part as the state."""
        return {
            "neighbours": values,
            "targets": target.astype(np.float64),
            "count": min(setting["neighbours"], len(target)),
        }

    def answer(self, state, values):
        """Return logits, or years."""
        distances = np.array([((state["neighbours"] - one) ** 2).sum(1) for one in values])
        return self._ask(distances, state)

    def _ask(self, distances, state):
        """Return the evidence of people, given their distances, shape (n, training)."""
        nearest = np.argsort(distances, axis=1, kind="stable")[:, : int(state["count"])]
        if targets.find(self.target).is_classes:
            return _vote(state["targets"], nearest)
        return state["targets"][nearest].mean(1)

    def weigh(self, validation, seed):
        """Return the loss of performance without each feature."""
        values, _ = unpack(validation[0])
        target = np.asarray(validation[1])
        falls = np.zeros(values.shape[1])
        goal = targets.find(self.target)
        if len(target) == 0 or (goal.is_classes and len(np.unique(target)) < 2):
            return falls
        scaled = standardize(values, *(self.state[key] for key in ("median", "centre", "scale")))
        neighbours, sign = self.state["neighbours"], 1 if goal.is_classes else -1
        distances = np.array([((neighbours - one) ** 2).sum(1) for one in scaled])
        whole_score = goal.score(self._ask(distances, self.state), target)
        draw = np.random.default_rng(stream(seed, "importance"))
        for column in range(values.shape[1]):
            apart = (scaled[:, column, None] - neighbours[:, column]) ** 2
            for _ in range(SHUFFLES):
                # Exchanging one feature exchanges what it adds to the distances.
                exchanged = distances - apart + apart[draw.permutation(len(apart))]
                shuffled = goal.score(self._ask(exchanged, self.state), target)
                falls[column] += sign * (whole_score - shuffled) / SHUFFLES
        return falls

    def save_arrays(self, folder):
        """Save the training part."""
        from safetensors.numpy import save_file

        with whole(Path(folder) / FILE) as part:
            save_file({key: np.ascontiguousarray(self.state[key]) for key in self.apart}, part)

    def load_arrays(self, folder):
        """Load the training part."""
        from safetensors.numpy import load_file

        return load_file(Path(folder) / FILE)


def _vote(sexes, nearest):
    """Return the logits of people, given the sexes of their neighbours, shape (n, count)."""
    male, count = sexes[nearest].sum(1), nearest.shape[1]
    prior = np.log((1 - sexes).sum()) - np.log(sexes.sum())
    return np.log(male + 0.5) - np.log(count - male + 0.5) + prior
