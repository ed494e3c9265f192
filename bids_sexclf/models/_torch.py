"""What every network shares: a network file is an ``nn.Module`` plus one line from here."""

from pathlib import Path

import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn

from bids_sexclf.errors import InputError
from bids_sexclf.models import _card, _options, _standardize, _training
from bids_sexclf.models._target import balance, check_target
from bids_sexclf.tables import whole

WEIGHTS = "weights.safetensors"
LAST = "last.ckpt"


def network(build):
    """Make the classifier of a network file.

    Parameters
    ----------
    build : callable
        ``build(grid=(X, Y, Z)) -> nn.Module``, volumes (batch, 1, X, Y, Z) to outputs
        (batch, 2), female first, or (batch, 1), the logit for male. What else it takes, a study
        gives by ``model_options``. An option ``weights`` says where training starts from; a saved
        network is built without it.

    Returns
    -------
    type
        A ``NetworkClassifier`` that builds this network.
    """
    members = {
        "build": staticmethod(build),
        "design": build.__module__.rpartition(".")[2],
        "entry": build.__module__.rpartition(".")[2],
        "__module__": build.__module__,
        "__doc__": NetworkClassifier.__doc__,
    }
    return type("Classifier", (NetworkClassifier,), members)


class Evidence(nn.Module):
    """Carry raw volumes to the evidence for male: standardisation, then the network.

    Parameters
    ----------
    network : nn.Module
    centre, scale : ndarray, shape (X, Y, Z) or ()
        Kept with the weights, so that no one can feed it volumes scaled in another way.
    """

    def __init__(self, network, centre, scale):
        super().__init__()
        self.network = network
        self.register_buffer("centre", torch.from_numpy(np.asarray(centre)))
        self.register_buffer("scale", torch.from_numpy(np.asarray(scale)))

    def forward(self, volumes):
        """Carry volumes (batch, X, Y, Z) to logits (batch,)."""
        outputs = self.network(((volumes - self.centre) / self.scale).unsqueeze(1))
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, 1] - outputs[:, 0]


class NetworkClassifier:
    """Learn to tell male from female volumes, and give the evidence in logits.

    Parameters
    ----------
    study : settings.Study
        ``epochs``, ``patience``, ``batch_size``, ``learning_rate``, ``weight_decay``,
        ``standardize`` and ``model_options`` are read.

    Attributes
    ----------
    history : list of dict
        ``epoch`` (from 0), ``train_loss`` and ``validation_loss``: cross-entropy, nats, both
        sexes weighed alike; 0.693 is what no knowledge gives.
    module : Evidence
        Raw volumes to evidence, for methods that need gradients; None before ``fit``.

    Raises
    ------
    InputError
        If the study gives an option that the network does not take.
    """

    def __init__(self, study):
        self.study = study
        self.options = _options.choose(study, self.entry, self.build)
        self.module = None
        self.grid = None
        self.history = []

    def fit(self, inputs, target, validation, *, seed, folder=None, progress=None):
        """Train; keep the weights with the lowest validation loss.

        Parameters
        ----------
        inputs : volumes.Rows or ndarray, shape (n, X, Y, Z)
            The training part, raw; read batch by batch.
        target : ndarray of int, shape (n,)
            1 for male, 0 for female.
        validation : tuple
            Inputs and target of the validation part.
        seed : int
            Fixes weights, order and dropout: on a CPU, same seed, same weights.
        folder : path-like, optional
            Keeps ``last.ckpt`` while training lasts. A run that was killed goes on from there
            to the same weights; one of other data or settings starts anew.
        progress : callable, optional
            Called after each epoch with ``epoch``, ``epochs``, ``train_loss`` and
            ``validation_loss``.

        Returns
        -------
        NetworkClassifier
            Itself.

        Raises
        ------
        InputError
            If a part is empty, of one sex, or holds volumes that cannot be standardised.
        ToolError
            If the loss is no longer a number.

        Notes
        -----
        The loss weighs each participant by n / (2 n_sex), counted in the training part.
        Evidence is therefore that of a population with as many women as men.
        """
        target = check_target(target, len(inputs))
        validation = (validation[0], check_target(validation[1], len(validation[0])))
        weights = balance(target)
        with isolate_rng(), _training.reproducible(), _training.quiet():
            torch.manual_seed(seed)
            self.grid = tuple(int(length) for length in inputs.shape[1:])
            built = self.build(grid=self.grid, **self.options)
            self.module = Evidence(built, *_standardize.learn(inputs, self.study.standardize))
            mark = _training.mark(self.module, self.study, seed, target, validation[1])
            last = Path(folder) / LAST if folder is not None else None
            run = _training.Training(self.module, self.study, weights, seed, mark, last, progress)
            _training.train(run, (inputs, target), validation)
        self.module.load_state_dict(run.best)
        self.module.eval()
        self.history = run.history
        if last is not None:
            last.unlink(missing_ok=True)
        return self

    def evidence(self, inputs):
        """Give the logit for male of each participant.

        Participants pass one by one, so that the evidence of one never depends, not even in
        its last bit, on who else was asked for.

        Parameters
        ----------
        inputs : volumes.Rows or ndarray, shape (n, X, Y, Z)
            Raw volumes on the grid of the training part.

        Returns
        -------
        ndarray of float64, shape (n,)
            Logits; positive speaks for male.

        Raises
        ------
        InputError
            If it is not fitted, the grid is another, or voxels are not finite.
        """
        self._check_fitted()
        self._check_grid(inputs.shape)
        logits, device = np.empty(len(inputs)), _training.device()
        self.module.to(device)
        with torch.inference_mode(), _training.reproducible():
            for index in range(len(inputs)):
                volume = torch.tensor(inputs[index], dtype=torch.float32, device=device)
                logits[index] = self.module(volume[None]).item()
        if not np.isfinite(logits).all():
            raise InputError(
                f"Found {(~np.isfinite(logits)).sum()} of {len(logits)} volumes that give no "
                "finite evidence, needed finite voxels. Make these maps again."
            )
        return logits

    def save(self, folder):
        """Save weights and card, without pickle.

        Parameters
        ----------
        folder : path-like
            Gets ``weights.safetensors`` and, last, ``model.json``.

        Raises
        ------
        InputError
            If it is not fitted.
        """
        from safetensors.torch import save_file

        self._check_fitted()
        state = {key: value.cpu().contiguous() for key, value in self.module.state_dict().items()}
        with whole(Path(folder) / WEIGHTS) as part:
            save_file(state, part)
        _card.write_card(
            folder,
            self.design,
            {
                "grid": list(self.grid),
                "options": self.options,
                "parameters": sum(weights.numel() for weights in self.module.parameters()),
                "settings": self.study.provenance(_training.SETTINGS),
                "history": self.history,
            },
        )

    @classmethod
    def load(cls, folder, study):
        """Load what ``save`` wrote: its evidence is the same to the last bit.

        Parameters
        ----------
        folder : path-like
            What ``save`` was given.
        study : settings.Study
            For a later ``fit``; evidence does not depend on it.

        Returns
        -------
        NetworkClassifier

        Raises
        ------
        InputError
            If files are absent, damaged, or of another design.
        """
        from safetensors.torch import load_file

        card, path = _card.read_card(folder, cls.design), Path(folder) / WEIGHTS
        loaded = cls(study)
        try:
            loaded.options = card["options"]
            start = {"weights": "none"} if "weights" in _options.known(cls.build) else {}
            state = load_file(path)
            with isolate_rng():
                built = cls.build(grid=tuple(card["grid"]), **(loaded.options | start))
            loaded.module = Evidence(built, state["centre"].numpy(), state["scale"].numpy())
            loaded.module.load_state_dict(state)
        except Exception as fault:  # safetensors raises a kind of its own on a damaged file
            raise InputError(
                f"Found {path}, which does not hold the weights of {cls.design!r} ({fault}); "
                "needed the ones saved beside its model.json. Run the fit stage again."
            ) from fault
        loaded.module.eval()
        loaded.grid, loaded.history = tuple(card["grid"]), card["history"]
        return loaded

    def _check_fitted(self):
        if self.module is None:
            raise InputError(
                f"Found a {self.design!r} without weights, needed a fitted one. Call fit or load."
            )

    def _check_grid(self, shape):
        if tuple(shape[1:]) != tuple(self.grid):
            raise InputError(
                f"Found volumes of shape {tuple(shape[1:])}, needed {tuple(self.grid)}, the grid "
                f"{self.design!r} was trained on. Prepare them on the grid of the model."
            )
