"""Augmentation: change training volumes at random."""

import numpy as np
import torch

from bids_sexclf.errors import InputError
from bids_sexclf.training.loop import draw


def make(recipe, module, grid):
    """Return the augmentation of training volumes; None if there is none.

    Parameters
    ----------
    recipe : settings.Recipe
        ``augment_*`` and ``crop`` are read.
    module : evidence.Evidence
        Its standardisation comes first; its network must take what is cut out.
    grid : tuple of int
        (X, Y, Z) of the volumes.

    Returns
    -------
    Augment or None

    Raises
    ------
    InputError
        If volumes are cropped for a network that accepts only one grid.
    """
    steps = choose_steps(recipe, grid)
    if not steps:
        return None
    if recipe.crop is not None:
        _check_any_grid(module, _within(recipe.crop, grid), grid)
    return Augment(steps, module.centre.cpu().clone(), module.scale.cpu().clone())


def choose_steps(recipe, grid):
    """Return the transforms of a recipe, in order.

    Parameters
    ----------
    recipe : settings.Recipe
    grid : tuple of int

    Returns
    -------
    list of monai.transforms.Transform
        Each takes a tensor (channels, X, Y, Z), X from left to right.
    """
    field_names = [name for name in type(recipe).model_fields if name.startswith("augment_")]
    if recipe.crop is None and not any(getattr(recipe, name) for name in field_names):
        return []
    from monai import transforms

    steps = []
    if recipe.augment_flip:
        steps.append(transforms.RandFlip(recipe.augment_flip, spatial_axis=0))
    if recipe.augment_rotation or recipe.augment_zoom or recipe.augment_shift:
        angle, zoom, shift = (
            [largest] * 3
            for largest in (
                np.deg2rad(recipe.augment_rotation),
                recipe.augment_zoom,
                recipe.augment_shift,
            )
        )
        steps.append(
            transforms.RandAffine(
                1.0, angle, translate_range=shift, scale_range=zoom, padding_mode="border"
            )
        )
    if recipe.augment_gain:
        steps.append(transforms.RandScaleIntensity(recipe.augment_gain, 1.0))
    if recipe.augment_offset:
        steps.append(transforms.RandShiftIntensity(recipe.augment_offset, prob=1.0))
    if recipe.augment_noise:
        steps.append(transforms.RandGaussianNoise(1.0, std=recipe.augment_noise))
    if recipe.crop is not None:
        size = _within(recipe.crop, grid)
        steps.append(transforms.RandSpatialCrop(size, random_size=False))
    return steps


def _within(crop, grid):
    return tuple(min(pair) for pair in zip(crop, grid, strict=True))


def _check_any_grid(module, crop, grid):
    """Refuse to crop for a network that was built for one grid."""
    channels = 1 if module.centre.ndim < 4 else len(module.centre)
    training = module.network.training
    try:
        with torch.no_grad():
            module.network.eval()(torch.zeros(1, channels, *crop))
    except (RuntimeError, IndexError, ValueError) as fault:
        raise InputError(
            f"Found crop {crop} on a grid of {tuple(grid)} for a {type(module.network).__name__}, "
            f"which takes one grid only ({str(fault).splitlines()[0][:100]}); needed a network "
            "without that, e.g. bagnet, resnet10 or sfcn. Leave crop out for this model."
        ) from fault
    finally:
        module.network.train(training)


class Augment:
    """Standardises and changes a volume; equal keys give equal changes.

    Parameters
    ----------
    steps : list of monai.transforms.Transform
    centre, scale : torch.Tensor
        As in ``Evidence``.
    """

    def __init__(self, steps, centre, scale):
        self.steps, self.centre, self.scale = steps, centre, scale

    def __call__(self, volume, key):
        """Return the changed volume.

        Parameters
        ----------
        volume : ndarray of float32, shape (X, Y, Z) or (channels, X, Y, Z)
            Raw.
        key : tuple of int
            Seed, epoch and participant: neither the batch it comes in, nor the process that
            reads it, nor the epochs before matter.

        Returns
        -------
        torch.Tensor of float32, shape (channels, ...)
            Standardised.
        """
        changed = (torch.from_numpy(volume) - self.centre) / self.scale
        changed = changed[None] if changed.ndim == 3 else changed
        for number, step in enumerate(self.steps):
            step.set_random_state(draw(*key, number) % 2**32)
            changed = step(changed)
        return torch.as_tensor(getattr(changed, "as_tensor", lambda: changed)()).contiguous()
