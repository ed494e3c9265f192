"""A study small enough to train in a second, and a network that fits it."""

import numpy as np
import pytest

from bids_sexclf.settings import Study

GRID = (4, 5, 3)


@pytest.fixture
def study():
    """Few epochs, small batches."""
    return Study(epochs=6, patience=6, batch_size=4, learning_rate=1e-2)


@pytest.fixture
def small_cohort():
    """Two parts of volumes in which one corner tells the sexes apart."""
    rng = np.random.default_rng(0)
    target = np.tile([0, 1], 9)
    volumes = 50 + rng.standard_normal((18, *GRID)).astype(np.float32)
    volumes[target == 1, :2, :2] += 4
    return (volumes[:12], target[:12]), (volumes[12:], target[12:])
