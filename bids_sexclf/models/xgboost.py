"""Gradient-boosted trees (XGBoost) on a feature table.

Evidence is the sum of the trees. They minimise the logistic loss with equal weight of both sexes,
or the squared error of age in years, starting at the mean age of the training part.

References
----------
Chen T, Guestrin C. XGBoost: a scalable tree boosting system. KDD 2016. doi:10.1145/2939672.2939785
"""

from pathlib import Path

import numpy as np

from bids_sexclf import targets
from bids_sexclf.disk import whole
from bids_sexclf.models._features import FeatureClassifier

READS = "features"
NESTED = True
SAYS = {
    "classes": "boosted trees [@chen2016]",
    "quantity": "boosted trees of squared error [@chen2016]",
}
FILE = "trees.json"
DEPTHS = (1, 3)
ROUNDS = (50, 200)


class Classifier(FeatureClassifier):
    """Gradient boosting of shallow trees.

    Parameters
    ----------
    study : settings.Study
    depth, rounds : int, optional
        Splits from root to leaf, and number of trees; by default 1 and 3, 50 and 200 are tried
        in inner folds.
    shrinkage : float
        Share of each tree that is added.

    Notes
    -----
    Importances are shares of the total reduction of the loss at a feature's splits: not negative,
    with sum 1 (all 0 if no tree splits).
    """

    design = "xgboost"
    kind = "gain"
    apart = ("trees",)
    array_files = (FILE,)

    def __init__(self, study, depth=None, rounds=None, shrinkage=0.1):
        super().__init__(study)
        self.depth, self.rounds, self.shrinkage = depth, rounds, shrinkage

    def grid(self, n_participants):
        """List depths and numbers of trees to search, the fewest first."""
        depths = DEPTHS if self.depth is None else (int(self.depth),)
        rounds = ROUNDS if self.rounds is None else (int(self.rounds),)
        return [{"depth": depth, "rounds": count} for depth in depths for count in rounds]

    def learn(self, values, target, setting, seed):
        """Fit the trees."""
        import xgboost

        of_classes = targets.find(self.target).is_classes
        weights = np.asarray(targets.balance(target))[target] if of_classes else None
        choices = {
            "objective": "binary:logistic" if of_classes else "reg:squarederror",
            "base_score": 0.5 if of_classes else float(target.mean()),
            "max_depth": setting["depth"],
            "eta": self.shrinkage,
            "tree_method": "hist",
            "nthread": 1,
            "seed": seed % 2**31,
            "verbosity": 0,
        }
        data = xgboost.DMatrix(values, label=target, weight=weights)
        return {"trees": xgboost.train(choices, data, setting["rounds"])}

    def answer(self, state, values):
        """Return logits, or years."""
        import xgboost

        data = xgboost.DMatrix(values, nthread=1)
        return state["trees"].predict(data, output_margin=True).astype(np.float64)

    def weigh(self, validation, seed):
        """Return each feature's share of the gain."""
        gains = self.state["trees"].get_score(importance_type="total_gain")
        total = sum(gains.values()) or 1.0
        return np.array([gains.get(f"f{place}", 0) / total for place in range(len(self.names))])

    def save_arrays(self, folder):
        """Save the trees as JSON of XGBoost."""
        with whole(Path(folder) / FILE) as part:
            Path(part).write_bytes(self.state["trees"].save_raw("json"))

    def load_arrays(self, folder):
        """Load the trees."""
        import xgboost

        trees = xgboost.Booster({"nthread": 1})
        trees.load_model(bytearray((Path(folder) / FILE).read_bytes()))
        return {"trees": trees}
