"""The one training loop: every network file is an ``nn.Module`` plus one line from here."""

import hashlib
import json
import logging
import signal
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from bids_sexclf.disk import whole
from bids_sexclf.errors import InputError, ToolError
from bids_sexclf.models import _card, _standardize
from bids_sexclf.models._target import balance, check_target

SETTINGS = (
    "epochs",
    "patience",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "standardize",
)
WEIGHTS = "weights.safetensors"
LAST = "last.ckpt"


def network(build):
    """Make the classifier of a network file.

    Parameters
    ----------
    build : callable
        ``build(grid=(X, Y, Z)) -> nn.Module``, volumes (batch, 1, X, Y, Z) to outputs
        (batch, 2), female first, or (batch, 1), the logit for male.

    Returns
    -------
    type
        A ``NetworkClassifier`` that builds this network.
    """
    members = {
        "build": staticmethod(build),
        "design": build.__module__.rpartition(".")[2],
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
        ``epochs``, ``patience``, ``batch_size``, ``learning_rate``, ``weight_decay`` and
        ``standardize`` are read.

    Attributes
    ----------
    history : list of dict
        ``epoch`` (from 0), ``train_loss`` and ``validation_loss``: cross-entropy, nats, both
        sexes weighed alike; 0.693 is what no knowledge gives.
    module : Evidence
        Raw volumes to evidence, for methods that need gradients; None before ``fit``.
    """

    def __init__(self, study):
        self.study = study
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
        with isolate_rng(), _reproducible(), _quiet():
            torch.manual_seed(seed)
            self.grid = tuple(int(length) for length in inputs.shape[1:])
            built = self.build(grid=self.grid)
            self.module = Evidence(built, *_standardize.learn(inputs, self.study.standardize))
            mark = _mark(self.module, self.study, seed, target, validation[1])
            last = Path(folder) / LAST if folder is not None else None
            run = Training(self.module, self.study, weights, seed, mark, last, progress)
            _train(run, (inputs, target), validation)
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
        logits, device = np.empty(len(inputs)), _device()
        self.module.to(device)
        with torch.inference_mode(), _reproducible():
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
                "parameters": sum(weights.numel() for weights in self.module.parameters()),
                "settings": self.study.provenance(SETTINGS),
                "history": self.history,
            },
        )

    @classmethod
    def load(cls, folder, study):
        """Load what ``save`` wrote: its evidence is the same to the last bit.

        Parameters
        ----------
        folder : path-like
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
            state = load_file(path)
            with isolate_rng():
                built = cls.build(grid=tuple(card["grid"]))
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


class Training(LightningModule):
    """One run: its loss, its steps, its best weights, and what a resumed run must know.

    Parameters
    ----------
    module : Evidence
    study : settings.Study
    weights : pair of float
        Weight of a female and of a male participant.
    seed : int
    mark : str
        Tells this run from any other.
    last : pathlib.Path or None
        Where to keep the checkpoint.
    progress : callable or None
    """

    def __init__(self, module, study, weights, seed, mark, last, progress):
        super().__init__()
        self.module, self.study, self.weights, self.seed = module, study, weights, seed
        self.mark, self.last, self.progress = mark, last, progress
        self.history, self.best, self.waited = [], None, 0
        self.sums = {"train": [0.0, 0.0], "validation": [0.0, 0.0]}

    @property
    def epoch(self):
        """The epoch that runs now, from 0."""
        return len(self.history)

    @property
    def finished(self):
        """Whether there is nothing left to learn: patience or epochs are used up."""
        return self.waited >= self.study.patience or self.epoch >= self.study.epochs

    def configure_optimizers(self):
        """Give Adam with decoupled weight decay."""
        return torch.optim.AdamW(
            self.module.network.parameters(),
            lr=self.study.learning_rate,
            weight_decay=self.study.weight_decay,
        )

    def _loss(self, batch, part):
        volumes, target = batch
        weight = torch.where(target > 0, self.weights[1], self.weights[0])
        # The cross-entropy of two outputs depends on their difference only: the evidence.
        each = weight * nn.functional.binary_cross_entropy_with_logits(
            self.module(volumes), target, reduction="none"
        )
        total = each.sum().item()
        if not np.isfinite(total):
            raise ToolError(
                f"Found a {part} loss of {total} in epoch {self.epoch}, needed a finite "
                "number. Lower learning_rate, or check the maps for non-finite voxels."
            )
        self.sums[part][0] += total
        self.sums[part][1] += weight.sum().item()
        return each.mean()

    def on_train_epoch_start(self):
        """Forget the sums of the epoch before, or of one that was cut short."""
        self.sums = {"train": [0.0, 0.0], "validation": [0.0, 0.0]}

    def on_train_batch_start(self, batch, index):
        """Seed dropout by epoch and step, so that a resumed run draws what a whole one drew."""
        torch.manual_seed(_draw(self.seed, self.epoch, index))

    def training_step(self, batch, index):
        """Give the mean loss of one batch."""
        return self._loss(batch, "train")

    def validation_step(self, batch, index):
        """Add one batch to the validation loss."""
        self._loss(batch, "validation")

    def on_train_epoch_end(self):
        """Judge the epoch, keep what must be kept, and decide whether to go on."""
        losses = {f"{part}_loss": total / n for part, (total, n) in self.sums.items()}
        known = [entry["validation_loss"] for entry in self.history]
        self.history.append({"epoch": self.epoch} | losses)
        self.waited += 1
        if not known or losses["validation_loss"] < min(known):
            self.waited = 0
            state = self.module.state_dict()
            self.best = {key: value.detach().cpu().clone() for key, value in state.items()}
        if self.last is not None:
            with whole(self.last) as part:
                self.trainer.save_checkpoint(part)
        if self.progress is not None:
            self.progress(**self.history[-1], epochs=self.study.epochs)
        self.trainer.should_stop = self.finished

    def on_save_checkpoint(self, checkpoint):
        """Add what Lightning does not know."""
        checkpoint["run"] = {
            "mark": self.mark,
            "history": self.history,
            "best": self.best,
            "waited": self.waited,
        }

    def on_load_checkpoint(self, checkpoint):
        """Take back what ``on_save_checkpoint`` added."""
        run = checkpoint["run"]
        self.history, self.best, self.waited = run["history"], run["best"], run["waited"]


class Part(Dataset):
    """Read the participants of one batch at once.

    Parameters
    ----------
    inputs : volumes.Rows or ndarray, shape (n, X, Y, Z)
    target : ndarray of int, shape (n,)
    """

    def __init__(self, inputs, target):
        self.inputs, self.target = inputs, target

    def __len__(self):
        return len(self.target)

    def __getitem__(self, batch):
        volumes = np.array(self.inputs[batch], dtype=np.float32)
        return torch.from_numpy(volumes), torch.from_numpy(self.target[batch].astype(np.float32))


class Batches(Sampler):
    """Deal participants into batches of nearly one size.

    No batch holds a single participant while another holds more: batch normalisation cannot
    work with one, and one participant would weigh as much as a whole batch. With a size of
    two and an odd number, one batch therefore holds three.

    Parameters
    ----------
    n_participants, size : int
    key : callable, optional
        Gives the numbers that seed the shuffle of the coming epoch; in order by default.
    """

    def __init__(self, n_participants, size, key=None):
        most = n_participants if size == 1 else max(1, n_participants // 2)
        self.n_participants, self.key = n_participants, key
        self.n_batches = min(-(-n_participants // size), most)

    def __len__(self):
        return self.n_batches

    def __iter__(self):
        order = np.arange(self.n_participants)
        if self.key is not None:
            order = np.random.default_rng(self.key()).permutation(order)
        yield from np.array_split(order, self.n_batches)


def _train(run, train, validation):
    """Train until finished, from the checkpoint of the same run where one is whole."""
    resumed = _resumable(run)
    if resumed is not None and run.finished:
        return
    loaders = [
        DataLoader(
            Part(*part),
            batch_size=None,
            sampler=Batches(len(part[1]), run.study.batch_size, key),
        )
        # Lightning forgets to tell a resumed run's sampler its epoch; the run itself knows.
        for part, key in ((train, lambda: [run.seed, run.epoch]), (validation, None))
    ]
    trainer = Trainer(
        accelerator=_device().type,
        devices=1,
        max_epochs=run.study.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        # Within a SLURM job Lightning would ask for one task per device and requeue the job.
        plugins=[LightningEnvironment()],
    )
    with _interruptible():
        trainer.fit(run, *loaders, ckpt_path=resumed, weights_only=True)


def _resumable(run):
    """Give the checkpoint of this very run, having told the run its past; else None."""
    if run.last is None or not run.last.exists():
        return None
    try:
        checkpoint = torch.load(run.last, map_location="cpu", weights_only=True)
        same = checkpoint["run"]["mark"] == run.mark
    except Exception:  # torch raises many kinds on a damaged file; such a run starts anew
        same = False
    if not same:
        return None
    run.on_load_checkpoint(checkpoint)
    return run.last


def _mark(module, study, seed, *targets):
    """Digest all that decides the final weights; initial weights and scales are part of it."""
    choices = study.provenance(SETTINGS) | {"seed": int(seed)}
    digest = hashlib.sha256(json.dumps(choices, sort_keys=True).encode())
    for key, value in module.state_dict().items():
        digest.update(key.encode() + value.numpy().tobytes())
    for target in targets:
        digest.update(target.tobytes() + b"|")
    return digest.hexdigest()


def _draw(*key):
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


def _device():
    # Apple's accelerator is passed over: it lacks some of the 3D operations.
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def _reproducible():
    """Choose algorithms of cuDNN that repeat their result, in full single precision."""
    with torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False):
        yield


@contextmanager
def _quiet():
    """Keep Lightning's remarks off the console: what matters here is raised."""
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _interruptible():
    """Let Ctrl+C reach the caller: Lightning turns it into an exit and then ignores the next."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    try:
        yield
    except SystemExit as stop:
        raise KeyboardInterrupt from stop
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)
