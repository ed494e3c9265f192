"""The sexes of the nearest training participants in a feature table.

Evidence is the logarithm of the ratio of the shares of each sex among the neighbours, half a
neighbour added to both: log((k_male + 1/2) / n_male) - log((k_female + 1/2) / n_female), where n
counts the training part, so that both sexes weigh alike.

A saved model holds the features of its training participants: it is as confidential as they are.
"""

from pathlib import Path

import numpy as np

from bids_sexclf.disk import whole
from bids_sexclf.models._features import FeatureClassifier, standardize, unpack

READS = "features"
NESTED = True
SEARCHED = (31, 21, 15, 9, 5, 3)
SHUFFLES = 5
FILE = "neighbours.safetensors"


class Classifier(FeatureClassifier):
    """Ask the nearest training participants (Euclidean distance of scaled features).

    Parameters
    ----------
    study : settings.Study
    neighbours : int, optional
        How many; by default 3 to 31 are tried in inner folds.

    Notes
    -----
    Importances are the fall of the AUC on the validation part when a feature's values are
    exchanged between participants: the mean of 5 shuffles; 0 where validation holds one sex.
    """

    design = "knn"
    kind = "permutation"
    apart = ("neighbours", "sexes")

    def __init__(self, study, neighbours=None):
        super().__init__(study)
        self.neighbours = neighbours

    def grid(self, n_participants):
        """List the numbers of neighbours to search, the most first."""
        asked = SEARCHED if self.neighbours is None else (int(self.neighbours),)
        fit = [count for count in asked if count <= n_participants // 2] or [min(asked)]
        return [{"neighbours": count} for count in fit]

    def learn(self, values, target, setting, seed):
        """Keep the training part."""
        return {
            "neighbours": values,
            "sexes": target.astype(np.float64),
            "count": min(setting["neighbours"], len(target)),
        }

    def answer(self, state, values):
        """Give logits."""
        distances = np.array([((state["neighbours"] - one) ** 2).sum(1) for one in values])
        return _vote(distances, state["sexes"], int(state["count"]))

    def weigh(self, validation, seed):
        """Give the fall of the AUC without each feature."""
        from sklearn.metrics import roc_auc_score

        values, _ = unpack(validation[0])
        target = np.asarray(validation[1])
        if len(np.unique(target)) < 2:
            return np.zeros(values.shape[1])
        scaled = standardize(values, *(self.state[key] for key in ("median", "centre", "scale")))
        known, sexes, count = self.state["neighbours"], self.state["sexes"], self.state["count"]
        distances = np.array([((known - one) ** 2).sum(1) for one in scaled])
        whole_auc = roc_auc_score(target, _vote(distances, sexes, count))
        draw, falls = np.random.default_rng([seed, 1]), np.zeros(values.shape[1])
        for column in range(values.shape[1]):
            apart = (scaled[:, column, None] - known[:, column]) ** 2
            for _ in range(SHUFFLES):
                # Exchanging one feature exchanges what it adds to the distances.
                other = distances - apart + apart[draw.permutation(len(apart))]
                answered = _vote(other, sexes, count)
                falls[column] += (whole_auc - roc_auc_score(target, answered)) / SHUFFLES
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


def _vote(distances, sexes, count):
    """Give the logits of people at these distances (n, training) from the training part."""
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :count]
    male = sexes[nearest].sum(1)
    prior = np.log((1 - sexes).sum()) - np.log(sexes.sum())
    return np.log(male + 0.5) - np.log(count - male + 0.5) + prior
