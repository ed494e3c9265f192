"""A dataset any learner must solve: smooth noise, and a blob that is bright in one sex."""

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score

from bids_sexclf import models
from bids_sexclf.settings import Study

GRID = (24, 26, 24)


def draw_cohort(n, effect, seed):
    """Give volumes of mean 100 and SD 10 with a blob ± effect SD, and the target."""
    rng = np.random.default_rng(seed)
    noise = np.stack([gaussian_filter(rng.standard_normal(GRID), 2) for _ in range(n)])
    target = np.tile([0, 1], n // 2)
    distance = sum(
        (axis - at) ** 2 for axis, at in zip(np.ogrid[:24, :26, :24], (15, 10, 14), strict=True)
    )
    blob = effect * np.exp(-distance / (2 * 3**2))
    volumes = noise / noise.std() + (2 * target - 1)[:, None, None, None] * blob
    return (100 + 10 * volumes).astype(np.float32), target


def test_network_finds_a_blob_that_differs_by_sex():
    volumes, target = draw_cohort(80, effect=3, seed=0)
    study = Study(epochs=12, standardize="map")
    fitted = (
        models.find("cnn3")
        .Classifier(study)
        .fit(volumes[:34], target[:34], (volumes[34:40], target[34:40]), seed=0)
    )
    assert roc_auc_score(target[40:], fitted.evidence(volumes[40:])) > 0.95
