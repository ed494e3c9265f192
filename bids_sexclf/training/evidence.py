"""From raw volumes to evidence: standardisation, a network, and the scale of the target."""

import numpy as np
import torch
from torch import nn

from bids_sexclf.training import batches, devices


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
        return self.tell(self.network(self.standardise(volumes)))

    def standardise(self, volumes):
        """Centre and scale volumes, shape (batch, channels, X, Y, Z) in the end."""
        scaled = (volumes - self.centre) / self.scale
        return scaled.unsqueeze(1) if scaled.ndim == 4 else scaled

    def decide(self, volumes):
        """Carry standardised volumes to logits, or to standardised ages, shape (batch,)."""
        return self.merge(self.network(volumes))

    def merge(self, outputs, axis=1):
        """Merge one output, or two, along an axis into logits, or into standardised ages."""
        outputs = outputs.float().movedim(axis, 0)
        return outputs[0] if len(outputs) == 1 else outputs[1] - outputs[0]

    def tell(self, outputs, axis=1):
        """Turn outputs of the network, or of its parts, into evidence."""
        return self.merge(outputs, axis) * self.spread + self.shift


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


def answer(module, inputs, size, device):
    """Compute the evidence of volumes in batches of one fixed size.

    Parameters
    ----------
    module : Evidence
    inputs : volumes.Rows or ndarray, shape (n, X, Y, Z)
        Raw.
    size : int
        Of every batch; the last one is filled up.
    device : torch.device

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    module.to(device)
    # One array for all answers: small ones, kept one by one between volumes that come and go,
    # would hold the memory of every volume.
    answers = torch.empty(-(-len(inputs) // size), size, device=device)
    remedy = "Close other programs, or raise voxel_size."
    with (
        torch.inference_mode(),
        devices.reproducible(),
        devices.within_memory("predicting", remedy),
        devices.keeping_memory(),
    ):
        for number, volumes in enumerate(batches.read_ahead(inputs, size, device)):
            batch = torch.from_numpy(volumes).to(device, non_blocking=True)
            answers[number] = module(batch)
    return answers.flatten()[: len(inputs)].double().cpu().numpy()


def answer_near(module, volume):
    """Prepare the evidence of volumes that differ from one in few places.

    Parameters
    ----------
    module : Evidence
    volume : ndarray of float32, shape ([C,] X, Y, Z)
        Raw, finite.

    Returns
    -------
    callable or None
        (k, [C,] X, Y, Z) to (k,); None where the network computes every volume as a whole.
    """
    prepare = getattr(module.network, "near", None)
    if prepare is None:
        return None
    device = devices.device()
    module.to(device)

    def standardise(volumes):
        batch = torch.from_numpy(np.ascontiguousarray(volumes, np.float32))
        return module.standardise(batch.to(device))

    with torch.inference_mode(), devices.reproducible(), devices.keeping_memory():
        forward = prepare(standardise(volume[None]))

    def evidence(volumes):
        with torch.inference_mode(), devices.reproducible(), devices.keeping_memory():
            return module.tell(forward(standardise(volumes))).double().cpu().numpy()

    return evidence
