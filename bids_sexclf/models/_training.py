"""One run of training on Lightning: its steps, its checkpoint, its batches."""

import hashlib
import json
import logging
import signal
import threading
import warnings
from contextlib import contextmanager

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from bids_sexclf.errors import ToolError
from bids_sexclf.tables import whole

SETTINGS = (
    "epochs",
    "patience",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "standardize",
    "model_options",
)
"""The choices of a study that decide the weights."""


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


def train(run, part, validation):
    """Train until finished, from the checkpoint of the same run where one is whole.

    Parameters
    ----------
    run : Training
        Holds the best weights and the history in the end.
    part, validation : tuple
        Inputs and target.

    Raises
    ------
    ToolError
        If the loss is no longer a number.
    """
    resumed = _resumable(run)
    if resumed is not None and run.finished:
        return
    loaders = [
        DataLoader(
            Part(*pair),
            batch_size=None,
            sampler=Batches(len(pair[1]), run.study.batch_size, key),
        )
        # Lightning forgets to tell a resumed run's sampler its epoch; the run itself knows.
        for pair, key in ((part, lambda: [run.seed, run.epoch]), (validation, None))
    ]
    trainer = Trainer(
        accelerator=device().type,
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


def mark(module, study, seed, *targets):
    """Digest all that decides the final weights, so that no run continues another.

    Parameters
    ----------
    module : Evidence
        With its initial weights, and with the scales that the training part taught.
    study : settings.Study
        ``SETTINGS`` are read.
    seed : int
        As given to ``fit``.
    *targets : ndarray of int
        Of the training and the validation part.

    Returns
    -------
    str
        Hexadecimal digits.
    """
    choices = study.provenance(SETTINGS) | {"seed": int(seed)}
    digest = hashlib.sha256(json.dumps(choices, sort_keys=True).encode())
    for key, value in module.state_dict().items():
        digest.update(key.encode() + value.numpy().tobytes())
    for target in targets:
        digest.update(target.tobytes() + b"|")
    return digest.hexdigest()


def _draw(*key):
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


def device():
    """Choose the graphics card where there is one.

    Returns
    -------
    torch.device
    """
    # Apple's accelerator is passed over: it lacks some of the 3D operations.
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def reproducible():
    """Choose algorithms of cuDNN that repeat their result, in full single precision."""
    with torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False):
        yield


@contextmanager
def quiet():
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
