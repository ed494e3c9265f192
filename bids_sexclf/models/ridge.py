"""Ridge regression of age on a feature table: least squares with an L2 penalty.

Evidence is the prediction, in years.
"""

import numpy as np

from bids_sexclf.models._features import FeatureClassifier

READS = "features"
NESTED = True
SAYS = {"quantity": "ridge regression [@hoerl1970]"}
SEARCHED = (100.0, 10.0, 1.0, 0.1, 0.01, 1e-3)


class Classifier(FeatureClassifier):
    """Ridge regression of age on features.

    Parameters
    ----------
    study : settings.Study
    penalty : float, optional
        What the sum of squared coefficients of scaled features adds to the mean squared error;
        by default 0.001 to 100 are tried in inner folds.

    Notes
    -----
    Importances are coefficients: years per standard deviation of a feature, positive for older.
    For correlated features, their sizes are not unique.
    """

    kinds = ("quantity",)
    sibling = "logistic"
    design = "ridge"
    kind = "coefficient"

    def __init__(self, study, penalty=None):
        super().__init__(study)
        self.penalty = penalty

    def grid(self, n_participants):
        """List the penalties to search, the strongest first."""
        penalties = SEARCHED if self.penalty is None else (float(self.penalty),)
        return [{"penalty": penalty} for penalty in penalties]

    def learn(self, values, target, setting, seed):
        """Estimate the coefficients."""
        from sklearn.linear_model import Ridge

        # Minimise the mean error, not the sum, since inner folds are smaller than the whole part.
        regression = Ridge(alpha=setting["penalty"] * len(target), solver="cholesky")
        regression.fit(values, target)
        return {"coefficients": regression.coef_, "intercept": float(regression.intercept_)}

    def answer(self, state, values):
        """Return years."""
        return (values * np.asarray(state["coefficients"])).sum(1) + state["intercept"]

    def weigh(self, validation, seed):
        """Return the coefficients."""
        return self.state["coefficients"]
