"""Logistic regression (L2) on a feature table, by default that of Kan et al. 2020 (C = 1.3).

Evidence is the logit of the regression, in whose loss both sexes have equal weight.
"""

import numpy as np

from bids_sexclf.models._features import FeatureClassifier

READS = "features"
NESTED = True
SAYS = {"classes": "logistic regression with an L2 penalty"}
SEARCHED = (1e-3, 1e-2, 0.1, 1.3, 10.0)


class Classifier(FeatureClassifier):
    """Logistic regression of sex on features.

    Parameters
    ----------
    study : settings.Study
    C : float or "search"
        One over the strength of the L2 penalty on coefficients of scaled features; ``search``
        tries 0.001 to 10 in inner folds.

    Notes
    -----
    Importances are coefficients: logits per standard deviation of a feature, positive for male.
    For correlated features, their sizes are not unique.
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
        """Estimate the coefficients."""
        from sklearn.linear_model import LogisticRegression

        regression = LogisticRegression(C=setting["C"], class_weight="balanced", max_iter=10000)
        regression.fit(values, target)
        return {
            "coefficients": regression.coef_[0],
            "intercept": float(regression.intercept_[0]),
        }

    def answer(self, state, values):
        """Return logits."""
        return (values * np.asarray(state["coefficients"])).sum(1) + state["intercept"]

    def weigh(self, validation, seed):
        """Return the coefficients."""
        return self.state["coefficients"]
