"""What every network shares: a network file is an ``nn.Module`` plus one line from here."""

from pathlib import Path

import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng

from bids_sexclf import targets
from bids_sexclf.disk import whole
from bids_sexclf.errors import InputError
from bids_sexclf.settings import Study
from bids_sexclf.training import (
    augmentation,
    batches,
    cards,
    devices,
    loop,
    nodes,
    pretraining,
    signatures,
    standardize,
    supervised,
)
from bids_sexclf.training.evidence import Evidence, Standardise, answer, answer_near

WEIGHTS = "weights.safetensors"
LAST = "last.ckpt"


def network(build, pretrain=None, layout=None):
    """Make the classifier of a network file.

    Parameters
    ----------
    build : callable
        ``build(grid=(X, Y, Z), channels=1) -> nn.Module``, volumes (batch, channels, X, Y, Z) to
        outputs (batch, 2), female first, or (batch, 1), the logit for male. What else it takes, a
        variant of the study gives. An option ``weights`` says where training starts from; a saved
        network is built without it. With ``outputs=1`` it has one output, which age needs.
    pretrain : callable, optional
        ``pretrain(network, volumes, context, **options)`` changes the fresh network in place. It
        is given the training part's volumes and no target.
    layout : torch.memory_format, optional
        Order of weights in memory that this network is faster in on a processor, as
        ``benchmarks/training.py`` measures it.

    Returns
    -------
    type
        A ``NetworkClassifier`` that builds this network.
    """
    members = {
        "build": staticmethod(build),
        "pretrain": None if pretrain is None else staticmethod(pretrain),
        "layout": layout,
        "design": build.__module__.rpartition(".")[2],
        "__module__": build.__module__,
        "__doc__": NetworkClassifier.__doc__,
    }
    return type("Classifier", (NetworkClassifier,), members)


class NetworkClassifier:
    """Learn to tell male from female volumes, or ages; give the evidence in logits or years.

    Parameters
    ----------
    study : settings.Study
        The training choices and ``target`` are read.
    **options
        For ``build`` and ``pretrain``.

    Attributes
    ----------
    history : list of dict
        ``epoch`` (from 0), ``learning_rate``, ``train_loss``, ``validation_loss`` and
        ``validation_score``. Cross-entropy is in nats, both sexes weighed alike; 0.693 is what no
        knowledge gives. Losses of an age are in its standard deviations (squared for mse). The
        score is the AUC, or the mean absolute error in years.
    module : Evidence
        Raw volumes to evidence, for methods that need gradients; None before ``fit``.
    """

    kinds = ("classes", "quantity")
    devices = 1
    """Graphics cards that train together (processes where there is none), or a ``nodes.Seat``."""

    def __init__(self, study, **options):
        if self.pretrain is not None:
            pretraining.check_options(options)
        self.study, self.options = study, options
        self.module = None
        self.grid = self.channels = None
        self.history, self.pretraining = [], {}

    def fit(self, inputs, target, validation, *, seed, folder=None, progress=None):
        """Train; keep the weights of the best epoch.

        Parameters
        ----------
        inputs : volumes.Rows or ndarray, shape (n, X, Y, Z), or volumes.Channels
            The training part, raw; read batch by batch.
        target : ndarray, shape (n,)
            1 for male, 0 for female; or ages, years.
        validation : tuple
            Inputs and target of the validation part.
        seed : int
            Fixes weights, order, augmentation and dropout: on a CPU, same seed, same weights.
        folder : path-like, optional
            Keeps ``last.ckpt`` while training lasts. A run that was killed goes on from there
            to the same weights; one of other data or settings starts anew.
        progress : callable, optional
            Called after each epoch with what ``history`` holds, ``epochs`` and ``seconds_left``.

        Returns
        -------
        NetworkClassifier
            Itself.

        Raises
        ------
        InputError
            If a part is empty, of one sex, or holds volumes that cannot be standardised.
        ToolError
            If the loss is no longer a number, or memory is used up.

        Notes
        -----
        With balanced class weights the loss weighs each participant by n / (2 n_sex), counted in
        the training part: evidence is that of a population with as many women as men.
        """
        goal = targets.find(self.study.target)
        target = goal.check(target, len(inputs))
        validation = (validation[0], goal.check(validation[1], len(validation[0])))
        weights = goal.weigh(target, self.study.class_weights)
        with isolate_rng(), devices.reproducible(), devices.quiet():
            torch.manual_seed(seed)
            self._take_shape(inputs.shape)
            scales = standardize.learn(inputs, self.study.standardize)
            self.module = Evidence(self._built(), *scales, *goal.scale(target))
            self._pretrain(inputs, seed, folder, progress)
            augment = augmentation.make(self.study, self.module, self.grid)
            choices = self.study.provenance(supervised.SETTINGS) | {"options": self.options}
            mark = loop.mark(self.module, choices, seed, target, validation[1])
            last = Path(folder) / LAST if folder is not None else None
            run = supervised.Training(
                self.module, self.study, weights, seed, mark, last, progress, augment is not None
            )
            run.devices = self.devices
            supervised.train(run, (inputs, target), validation, augment)
        self.module.load_state_dict(run.best)
        self.module.eval()
        self.history = run.history
        if folder is not None and nodes.leads(self.devices):
            for path in Path(folder).glob("*.ckpt"):
                path.unlink()
        return self

    def _pretrain(self, inputs, seed, folder, progress):
        """Let the network learn from the training volumes, without their target."""
        if self.pretrain is None:
            return
        context = pretraining.Context(
            self._standardiser(),
            (self.module.centre.numpy(), self.module.scale.numpy()),
            self.study.precision,
            seed,
            folder,
            progress,
            self.devices,
        )
        kept = signatures.known(self.build)
        options = {
            key: value for key, value in self.options.items() if key not in kept or key == "weights"
        }
        self.pretraining = self.pretrain(self.module.network, inputs, context, **options)

    def _standardiser(self):
        """Give the standardisation alone, wherever volumes lie."""
        return Standardise(self.module.centre.clone(), self.module.scale.clone())

    def check_grid(self, shape):
        """Refuse volumes that the network cannot read. Nothing is computed, and no memory taken.

        Parameters
        ----------
        shape : tuple of int
            (n, X, Y, Z) or (n, channels, X, Y, Z).

        Raises
        ------
        InputError
            If the grid is too small, or does not fit the options.
        """
        try:
            self.sketch(shape)
        except InputError:
            raise
        except Exception:  # a network that needs numbers to be built is judged when it is fitted
            return

    def sketch(self, shape):
        """Build the network for volumes of a shape without numbers: no memory is taken.

        Parameters
        ----------
        shape : tuple of int
            (n, X, Y, Z) or (n, channels, X, Y, Z).

        Returns
        -------
        torch.nn.Module
        """
        self._take_shape(shape)
        with torch.device("meta"):
            return self.build_fresh()

    def _take_shape(self, shape):
        """Note grid and channels of what is learnt from: (n, X, Y, Z) or (n, channels, X, Y, Z)."""
        self.grid = tuple(int(length) for length in shape[-3:])
        self.channels = int(shape[1]) if len(shape) == 5 else 1

    def build_fresh(self):
        """Build the network for the known grid with random weights, also where a file holds some.

        Returns
        -------
        torch.nn.Module
        """
        start = {"weights": "none"} if "weights" in signatures.known(self.build) else {}
        return self._built(**start)

    def _built(self, **start):
        """Build the network for the maps and the target."""
        given = {
            key: self.options[key] for key in signatures.known(self.build) if key in self.options
        }
        if self.channels > 1:
            given["channels"] = self.channels
        outputs = targets.find(self.study.target).outputs
        if outputs is not None:
            given["outputs"] = outputs
        built = self.build(grid=self.grid, **(given | start))
        if self.layout is not None and devices.device().type == "cpu":
            built = built.to(memory_format=self.layout)
        return built

    def evidence(self, inputs):
        """Give the logit for male, or the age, of each participant.

        The evidence of one never depends, not even in its last bit, on who else was asked for:
        participants pass one by one on a processor, where batches gain little, and on a graphics
        card in batches of one fixed size, the last one filled up.

        Parameters
        ----------
        inputs : volumes.Rows or ndarray, shape (n, X, Y, Z)
            Raw volumes on the grid of the training part.

        Returns
        -------
        ndarray of float64, shape (n,)
            Logits; positive speaks for male. Years where the target is age.

        Raises
        ------
        InputError
            If it is not fitted, the grid is another, or voxels are not finite.
        """
        self._check_fitted()
        self._check_grid(inputs.shape)
        device = devices.device()
        size = batches.choose_size(inputs.shape, device)
        logits = answer(self.module, inputs, size, device)
        if not np.isfinite(logits).all():
            raise InputError(
                f"Found {(~np.isfinite(logits)).sum()} of {len(logits)} volumes that give no "
                "finite evidence, needed finite voxels. Make these maps again."
            )
        return logits

    def near(self, volume):
        """Prepare for volumes that differ from one in few places.

        Parameters
        ----------
        volume : ndarray of float32, shape ([C,] X, Y, Z)
            Raw, finite.

        Returns
        -------
        callable
            The same function as `evidence`, but for rounding. Where the network reads slices one
            by one, only those that differ pass through it again.
        """
        return answer_near(self.module, volume) or self.evidence

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
        cards.write_card(
            folder,
            self.design,
            {
                "grid": list(self.grid),
                "channels": self.channels,
                "options": self.options,
                "target": self.study.target,
                "parameters": sum(weights.numel() for weights in self.module.parameters()),
                "settings": self.study.provenance(supervised.SETTINGS),
                "pretraining": self.pretraining,
                "history": self.history,
            },
            [WEIGHTS],
        )

    @classmethod
    def load(cls, folder):
        """Load what ``save`` wrote: its evidence is the same to the last bit.

        Parameters
        ----------
        folder : path-like
            What ``save`` was given.

        Returns
        -------
        NetworkClassifier
            Its study holds the training choices of the fit.

        Raises
        ------
        InputError
            If files are absent, damaged, or of another design.
        """
        from safetensors.torch import load_file

        card, path = cards.read_card(folder, cls.design), Path(folder) / WEIGHTS
        try:
            loaded = cls(Study(**card["settings"] | {"target": card["target"]}), **card["options"])
            loaded.grid, loaded.channels = tuple(card["grid"]), card["channels"]
            state = load_file(path)
            with isolate_rng():
                built = loaded.build_fresh()
            loaded.module = Evidence(built, state["centre"].numpy(), state["scale"].numpy())
            loaded.module.load_state_dict(state)
        except Exception as fault:  # safetensors raises a kind of its own on a damaged file
            raise InputError(
                f"Found {path}, which does not hold the weights of {cls.design!r} ({fault}); "
                "needed the ones saved beside its model.json. Run the fit stage again."
            ) from fault
        loaded.module.eval()
        loaded.history, loaded.pretraining = card["history"], card["pretraining"]
        return loaded

    def _check_fitted(self):
        if self.module is None:
            raise InputError(
                f"Found a {self.design!r} without weights, needed a fitted one. Call fit or load."
            )

    def _check_grid(self, shape):
        needed = tuple(self.grid) if self.channels == 1 else (self.channels, *self.grid)
        if tuple(shape[1:]) != needed:
            raise InputError(
                f"Found volumes of shape {tuple(shape[1:])}, needed {needed}, the grid "
                f"{self.design!r} was trained on. Prepare them on the grid of the model."
            )
