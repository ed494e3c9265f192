"""Logistic regression (L2) on a feature table, by default that of Kan et al. 2020 (C = 1.3).

Evidence is the regression's own logit: both sexes weigh alike in its loss.
"""

import numpy as np

from bids_sexclf.models._features import FeatureClassifier

READS = "features"
NESTED = True
SAYS = {"classes": "logistic regression with an L2 penalty"}
SEARCHED = (1e-3, 1e-2, 0.1, 1.3, 10.0)


class Classifier(FeatureClassifier):
    """Regress sex on features.

    Parameters
    ----------
    study : settings.Study
    C : float or "search"
        One over the strength of the L2 penalty on coefficients of scaled features; ``search``
        tries 0.001 to 10 in inner folds.

    Notes
    -----
    Importances are coefficients: logits per standard deviation of a feature, positive for male.
    With correlated features their size depends on which of them share the work.
    """

    kinds = ("classes",)
    sibling = "ridge"
    design = "logistic"
    kind = "coefficient"

    def __init__(self, study, C=1.3):
        super().__init__(study)
        self.C = C

    def grid(self, n_participants):
        """List the penalties to search, the strongest first."""
        return [{"C": C} for C in (SEARCHED if self.C == "search" else (float(self.C),))]

    def learn(self, values, target, setting, seed):
        """Find the coefficients."""
        from sklearn.linear_model import LogisticRegression

        regression = LogisticRegression(C=setting["C"], class_weight="balanced", max_iter=10000)
        regression.fit(values, target)
        return {
            "coefficients": regression.coef_[0],
            "intercept": float(regression.intercept_[0]),
        }

    def answer(self, state, values):
        """Give logits."""
        return (values * np.asarray(state["coefficients"])).sum(1) + state["intercept"]

    def weigh(self, validation, seed):
        """Give the coefficients."""
        return self.state["coefficients"]
