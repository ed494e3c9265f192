"""The step size during training, and the groups of parameters."""

from math import cos, pi

import torch

from bids_sexclf.errors import InputError


def factor(recipe, moment, length=0.0):
    """Compute the step size of one step, as a share of the largest.

    It depends only on the moment, so that a resumed run needs no stored state.

    Parameters
    ----------
    recipe : settings.Recipe
        ``schedule``, ``milestones``, ``schedule_factor``, ``warmup_epochs`` and ``epochs`` are
        read.
    moment : float
        Epochs trained when the step begins: 0.5 after the first half of the first epoch.
    length : float
        Epochs that the step takes; so the first step of a warm-up is not zero.

    Returns
    -------
    float
        In [0, 1].

    Examples
    --------
    >>> from bids_sexclf.settings import Recipe
    >>> kan = Recipe(epochs=20, schedule="step", milestones=[5, 15])
    >>> [round(factor(kan, moment), 3) for moment in (4.9, 5, 14.9, 15)]
    [1.0, 0.1, 0.1, 0.01]
    >>> round(factor(Recipe(epochs=20, schedule="cosine", warmup_epochs=4), 12), 3)
    0.5
    >>> factor(Recipe(warmup_epochs=4), 1, 1)
    0.5
    """
    if moment < recipe.warmup_epochs:
        return min(1.0, (moment + length) / recipe.warmup_epochs)
    if recipe.schedule == "step":
        return float(recipe.schedule_factor ** sum(moment >= start for start in recipe.milestones))
    if recipe.schedule == "cosine":
        remaining = max(recipe.epochs - recipe.warmup_epochs, 1e-9)
        return (1 + cos(pi * min((moment - recipe.warmup_epochs) / remaining, 1))) / 2
    return 1.0


def make_optimizer(network, recipe):
    """Make the optimiser of a network's weights.

    Parameters
    ----------
    network : torch.nn.Module
        Where ``layer_decay`` is below 1, with ``n_layers`` and ``layer_of(name)``.
    recipe : settings.Recipe

    Returns
    -------
    torch.optim.Optimizer
        Each group holds its largest step size as ``"largest"``.

    Raises
    ------
    InputError
        If no weight is trainable, or the network does not number its layers.

    Notes
    -----
    The fused and the looped forms of an optimiser differ in the last bit: one form is used
    everywhere. Fused ones could not be clipped under mixed precision either.
    """
    groups = _groups(network, recipe)
    if not groups:
        raise InputError(
            "Found no weights that may learn, needed some. Let the network be trained (frozen)."
        )
    pull = {"weight_decay": recipe.weight_decay}
    adam = pull | {"eps": recipe.adam_epsilon, "foreach": False}
    makers = {
        "adam": lambda: torch.optim.Adam(groups, lr=recipe.learning_rate, **adam),
        "adamw": lambda: torch.optim.AdamW(groups, lr=recipe.learning_rate, **adam),
        "sgd": lambda: torch.optim.SGD(
            groups, lr=recipe.learning_rate, momentum=recipe.momentum, foreach=False, **pull
        ),
    }
    return makers[recipe.optimizer]()


def _groups(network, recipe):
    """Group trainable weights by the distance of their layer from the output."""
    learning = [(name, one) for name, one in network.named_parameters() if one.requires_grad]
    if recipe.layer_decay == 1:
        members = {0: [one for _, one in learning]}
    elif not hasattr(network, "layer_of"):
        raise InputError(
            f"Found layer_decay {recipe.layer_decay:g} for a {type(network).__name__}, which does "
            "not number its layers; needed vit, or 1. Set layer_decay to 1 for this model."
        )
    else:
        members = {}
        for name, one in learning:
            members.setdefault(network.n_layers - 1 - network.layer_of(name), []).append(one)
    return [
        {"params": parameters, "largest": recipe.learning_rate * recipe.layer_decay**distance}
        for distance, parameters in sorted(members.items())
        if parameters
    ]
