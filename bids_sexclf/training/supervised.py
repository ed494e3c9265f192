"""Training on a target: the loss, the kept epoch, and early stopping."""

import numpy as np
import torch
from torch import nn

from bids_sexclf import targets
from bids_sexclf.errors import ToolError
from bids_sexclf.settings import RECIPE
from bids_sexclf.training import batches, devices, loop, nodes

SETTINGS = (*RECIPE, "target")
"""The choices of a study that decide the weights."""


class Training(loop.Loop):
    """Training on a target; the weights of the best epoch are kept.

    Parameters
    ----------
    module : Evidence
    study : settings.Study
    weights : pair of float
        Weights of participants whose target is 0, and 1.
    seed, mark, last, progress
        As for ``Loop``.
    prepared : bool
        Whether training batches come standardised already, as augmented ones do.
    """

    kept = ("history", "best", "waited")

    def __init__(self, module, study, weights, seed, mark, last, progress, prepared=False):
        super().__init__(module, study, seed, mark, last, progress)
        self.weights, self.prepared = weights, prepared
        self.target = targets.find(study.target)
        self.loss = getattr(nn.functional, self.target.losses[name_loss(study)])
        self.best, self.waited = None, 0
        self.sums, self.answers = {}, []  # on the device

    @property
    def finished(self):
        """Whether patience or epochs are exhausted."""
        return self.waited >= self.recipe.patience or super().finished

    def learning(self):
        """Return the network without its standardisation."""
        return self.module.network

    def on_train_epoch_start(self):
        """Reset the sums of the previous or interrupted epoch."""
        self.sums = {
            part: torch.zeros(2, dtype=torch.float64, device=self.device)
            for part in ("train", "validation")
        }
        self.answers = []

    def _losses(self, answer, target, part):
        """Return the weighted loss of each participant, and add it to the sums."""
        weight = torch.ones_like(target)
        if self.target.is_classes:
            weight = torch.where(target > 0, self.weights[1], self.weights[0])
        scaled = (target - self.module.shift) / self.module.spread
        losses = weight * self.loss(answer, scaled, reduction="none")
        self.sums[part] += torch.stack([losses.detach().sum(), weight.sum()]).double()
        if (
            losses.device.type == "cpu"
        ):  # reading a value from a graphics card in each step would delay it
            self._added(part)
        return losses

    def _added(self, part):
        """Return summed losses and weights of a part; raise ToolError if they are not finite."""
        total, n = self.sums[part].tolist()
        if not np.isfinite(total):
            raise ToolError(
                f"Found a {part} loss of {total} in epoch {self.epoch}, needed a finite "
                "number. Lower learning_rate, set gradient_clip to 1, or check the maps for "
                "non-finite voxels."
            )
        return [total, n]

    def training_step(self, batch, index):
        """Return the mean loss of one batch."""
        volumes, target = batch
        inputs = volumes if self.prepared else self.module.standardise(volumes)
        return self.average(self._losses(self.module.decide(inputs), target, "train"), index)

    def validation_step(self, batch, index):
        """Add one batch to the validation loss, and store its predictions for the score."""
        volumes, target = batch
        answer = self.module.decide(self.module.standardise(volumes))
        self._losses(answer, target, "validation")
        self.answers.append((answer.double(), target.double()))

    def judge(self):
        """Return the losses and the score; keep the weights if this epoch is the best."""
        # Each process validates on all participants, but trains on a part of each batch.
        sums = {part: self._added(part) for part in self.sums}
        sums["train"] = self.gather(sums["train"])
        entry = {f"{part}_loss": total / n for part, (total, n) in sums.items()}
        answer, target = (
            torch.cat(parts).cpu().numpy() for parts in zip(*self.answers, strict=True)
        )
        answer = answer * float(self.module.spread) + float(self.module.shift)
        entry["validation_score"] = self.target.score(answer, target)
        entry = nodes.agree(
            entry
        )  # it differs on other machines, or without synchronised normalisation
        self.waited += 1
        if not self.history or self._rank(entry) < min(map(self._rank, self.history)):
            self.waited = 0
            state = self.module.state_dict()
            self.best = {key: value.detach().cpu().clone() for key, value in state.items()}
        return entry

    def _rank(self, entry):
        """Return the rank of an epoch; the smallest is the best."""
        loss, value = entry["validation_loss"], entry["validation_score"]
        if self.recipe.choose_by == "loss" or value is None:
            return (loss,)
        return (-value if self.target.is_classes else value, loss)


def name_loss(study):
    """Return the name of the loss of a study.

    Examples
    --------
    >>> from bids_sexclf.settings import Study
    >>> name_loss(Study()), name_loss(Study(target="age"))
    ('cross_entropy', 'mse')
    """
    return next(iter(targets.find(study.target).losses)) if study.loss == "auto" else study.loss


def train(run, part, validation, augment=None):
    """Train until finished; resume from a complete checkpoint of the same run.

    Parameters
    ----------
    run : Training
        Holds the best weights and the history in the end.
    part, validation : tuple
        Inputs and target.
    augment : callable, optional
        For volumes of the training part.

    Raises
    ------
    ToolError
        If the loss is not finite, or memory is used up.
    """
    size, place = run.recipe.batch_size, devices.device()
    # Lightning forgets to tell a resumed run's sampler its epoch; the run itself knows.
    run.batches = batches.Batches(len(part[1]), size, run.key)
    loop.run(
        run,
        batches.make_loader(batches.Part(*part, augment), run.batches, place),
        batches.make_loader(
            batches.Part(*validation), batches.Batches(len(validation[1]), size), place
        ),
    )
