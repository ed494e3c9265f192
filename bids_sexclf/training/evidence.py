"""From raw volumes to evidence: standardisation, a network, and the scale of the target."""

import numpy as np
import torch
from torch import nn


class Evidence(nn.Module):
    """Carry raw volumes to the evidence: standardisation, the network, the target's scale.

    Parameters
    ----------
    network : nn.Module
    centre, scale : ndarray, shape (X, Y, Z) or (), or (channels, X, Y, Z) or (channels, 1, 1, 1)
        Kept with the weights, so that no one can feed it volumes scaled in another way.
    shift, spread : float
        Of the target in the training part: 0 and 1 for sex, years for age.
    """

    def __init__(self, network, centre, scale, shift=0.0, spread=1.0):
        super().__init__()
        self.network = network
        self.register_buffer("centre", torch.from_numpy(np.asarray(centre)))
        self.register_buffer("scale", torch.from_numpy(np.asarray(scale)))
        self.register_buffer("shift", torch.tensor(float(shift)))
        self.register_buffer("spread", torch.tensor(float(spread)))

    def forward(self, volumes):
        """Carry volumes (batch, X, Y, Z) or (batch, channels, X, Y, Z) to evidence (batch,)."""
        return self.decide(self.standardise(volumes)) * self.spread + self.shift

    def standardise(self, volumes):
        """Centre and scale volumes, shape (batch, channels, X, Y, Z) in the end."""
        scaled = (volumes - self.centre) / self.scale
        return scaled.unsqueeze(1) if scaled.ndim == 4 else scaled

    def decide(self, volumes):
        """Carry standardised volumes to logits, or to standardised ages, shape (batch,)."""
        outputs = self.network(volumes).float()
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, 1] - outputs[:, 0]


class Standardise:
    """Standardise as ``Evidence`` does, without the network that belongs to it.

    Parameters
    ----------
    centre, scale : torch.Tensor
    """

    def __init__(self, centre, scale):
        self.centre, self.scale = centre, scale

    def __call__(self, volumes):
        """Carry raw volumes to (batch, channels, X, Y, Z), wherever they lie."""
        place = volumes.device
        scaled = (volumes - self.centre.to(place)) / self.scale.to(place)
        return scaled.unsqueeze(1) if scaled.ndim == 4 else scaled
