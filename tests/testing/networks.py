"""Networks so small that a test can train them."""

import numpy as np
from torch import nn


def make_network(grid, channels=1, outputs=2):
    """Build every trap in one network: dropout, batch normalisation, position."""
    return nn.Sequential(
        nn.Conv3d(channels, 3, 3, padding=1),
        nn.BatchNorm3d(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(3 * int(np.prod(grid)), outputs),
    )
