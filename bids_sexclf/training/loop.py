"""The training loop, with Lightning: steps, checkpoint and resumption."""

import hashlib
import json
import time
from functools import cached_property

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.strategies import DDPStrategy

from bids_sexclf.disk import whole
from bids_sexclf.errors import ToolError
from bids_sexclf.training import devices, nodes, schedule


class Loop(LightningModule):
    """The common part of all kinds of training: one run of epochs.

    Parameters
    ----------
    module : torch.nn.Module
    recipe : settings.Recipe
    seed : int
    mark : str
        Tells this run from any other.
    last : pathlib.Path or None
        Where to keep the checkpoint.
    progress : callable or None
        Called after each epoch with what the history holds, ``epochs`` and ``seconds_left``.
    """

    devices = 1
    """Graphics cards, or processes, that train together; or the ``nodes.Seat`` of this process."""

    kept = ("history",)
    """What a checkpoint holds beside the weights and the optimiser."""

    def __init__(self, module, recipe, seed, mark, last, progress):
        super().__init__()
        self.module, self.recipe, self.seed = module, recipe, seed
        self.mark, self.last, self.progress = mark, last, progress
        self.history, self.batches, self.started = [], None, (time.monotonic(), 0)

    @property
    def epoch(self):
        """Current epoch, from 0."""
        return len(self.history)

    @property
    def finished(self):
        """Whether training is finished."""
        return self.epoch >= self.recipe.epochs

    def key(self):
        """Return the seeds of the order of participants in this epoch."""
        return (self.seed, self.epoch)

    def learning(self):
        """Return the network whose weights are trained."""
        return self.module

    def judge(self):
        """Return the entry of the history for the finished epoch; subclasses implement it."""
        return {}

    def configure_optimizers(self):
        """Return the optimiser of the recipe."""
        return schedule.make_optimizer(self.learning(), self.recipe)

    def on_train_start(self):
        """Record the time at which this run started or resumed."""
        self.started = (time.monotonic(), self.epoch)

    def on_train_batch_start(self, batch, index):
        """Seed dropout by epoch and batch, so that a resumed run is identical to a whole one."""
        rank, _ = devices.share()
        torch.manual_seed(draw(self.seed, self.epoch, index, *([rank] if rank else [])))
        n_batches, group = len(self.batches), self.recipe.accumulate
        first = index // group * group  # of the batches whose gradients make this step
        length = min(group, n_batches - first) / n_batches
        share = schedule.factor(self.recipe, self.epoch + first / n_batches, length)
        for one in self.optimizers(use_pl_optimizer=False).param_groups:
            one["lr"] = one["largest"] * share
        self.step_size = self.recipe.learning_rate * share

    def average(self, losses, index):
        """Average losses so that every participant of a step has equal weight.

        Lightning divides the loss of a batch by ``accumulate`` and averages over processes;
        batches differ in size, and the last step of an epoch may gather fewer of them.
        """
        _, world = devices.share()
        return losses.sum() * self.recipe.accumulate * world / self.weights_of_steps[index]

    def gather(self, sums):
        """Sum numbers over the processes that train together."""
        if devices.share()[1] == 1:
            return sums
        numbers = torch.tensor(sums, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(numbers)
        return numbers.tolist()

    @cached_property  # cached, since it visits all batches
    def weights_of_steps(self):
        """Return the number of participants in the step of each batch."""
        return self.batches.weigh(self.recipe.accumulate)

    def on_train_epoch_end(self):
        """Judge the epoch, write the checkpoint, and decide whether to stop."""
        entry = {"epoch": self.epoch, "learning_rate": self.step_size} | self.judge()
        self.history.append(entry)
        for logger in self.loggers:
            numbers = {key: value for key, value in entry.items() if value is not None}
            logger.log_metrics(numbers, step=entry["epoch"])
        if self.last is not None:
            self._save()
        if self.progress is not None:
            self.progress(**entry, epochs=self.recipe.epochs, seconds_left=self._left())
        self.trainer.should_stop = self.finished

    def _save(self):
        if self.trainer.is_global_zero:
            with whole(self.last) as part:
                self.trainer.save_checkpoint(part)
        else:  # all processes take part, one writes
            self.trainer.save_checkpoint(self.last)

    def _left(self):
        since, before = self.started
        pace = (time.monotonic() - since) / max(self.epoch - before, 1)
        return 0.0 if self.finished else pace * (self.recipe.epochs - self.epoch)

    def on_save_checkpoint(self, checkpoint):
        """Add the state that Lightning does not store."""
        checkpoint["run"] = {name: getattr(self, name) for name in ("mark", *self.kept)}

    def on_load_checkpoint(self, checkpoint):
        """Restore the state that ``on_save_checkpoint`` added."""
        for name in self.kept:
            setattr(self, name, checkpoint["run"][name])


def run(loop, loader, validation=None):
    """Train until finished; resume from a complete checkpoint of the same run.

    Parameters
    ----------
    loop : Loop
    loader, validation : torch.utils.data.DataLoader

    Raises
    ------
    ToolError
        If memory is used up.
    InputError
        If devices are missing, or do not support the precision of the recipe.
    """
    recipe = loop.recipe
    devices.check_precision(recipe)
    seat = loop.devices if isinstance(loop.devices, nodes.Seat) else None
    count, n_nodes = (seat.devices, seat.num_nodes) if seat else (loop.devices, 1)
    devices.check_devices(count, loop.last, min(loop.batches.sizes), n_nodes)
    remedy = (
        f"Lower batch_size ({recipe.batch_size}) and raise accumulate ({recipe.accumulate}) by the "
        "same factor, so that steps stay the same; or raise voxel_size."
    )
    with (
        devices.interruptible(),
        devices.within_memory("training", remedy),
        devices.keeping_memory(),
    ):
        if seat is not None:
            with nodes.joined(seat, loop.last.stem):
                _go_on(loop, loader, validation, _agreed_past(loop), count, n_nodes)
        else:
            _go_on(loop, loader, validation, _resumable(loop), count)


def _go_on(loop, loader, validation, resumed, count, n_nodes=None):
    """Train from a checkpoint, or from the start, unless training is finished."""
    if resumed is not None and loop.finished:
        return
    trainer = make_trainer(loop.recipe, count, n_nodes, logger=_logger(loop))
    if count == 1 or n_nodes is not None:
        trainer.fit(loop, loader, validation, ckpt_path=resumed, weights_only=True)
    else:
        _fit_together(trainer, loop, loader, validation, resumed)


def _agreed_past(loop):
    """Return the checkpoint of the first process, if all processes read the same one."""
    leads = devices.share()[0] == 0
    past = _resumable(loop) if leads else None
    # Machines may round the scales differently, which changes the digest.
    loop.mark, goes_on = nodes.agree((loop.mark, past is not None))
    if goes_on and not leads:
        past = _resumable(loop)
    nodes.check_same(loop.epoch, f"{loop.last} at the epochs")
    return past


def _fit_together(trainer, loop, loader, validation, resumed):
    """Train in several processes, and read the result from their checkpoint."""
    progress, loop.progress = loop.progress, None  # a function cannot be passed to another process
    try:
        trainer.fit(loop, loader, validation, ckpt_path=resumed, weights_only=True)
    except torch.multiprocessing.ProcessRaisedException as fault:
        message = str(fault).strip().splitlines()[-1]
        raise ToolError(
            f"Found a process of {loop.devices} that train together ended by: {message} Mend the "
            "cause, or train with one device."
        ) from fault
    finally:
        loop.progress = progress
    _resumable(loop)


def make_trainer(recipe, count=1, n_nodes=None, **options):
    """Return Lightning's trainer for a recipe.

    Parameters
    ----------
    recipe : settings.Recipe
    count : int
        Devices that train together (distributed data parallel), each in a process of its own.
    n_nodes : int, optional
        Machines with so many devices each, where each process was started from outside; by
        default this process starts the others, on its own machine.
    **options
        For the trainer.

    Returns
    -------
    lightning.pytorch.Trainer
    """
    place, precision = devices.device().type, devices.precision_of(recipe)
    # Within a SLURM job Lightning would ask for one task per device and requeue the job.
    plugins = [LightningEnvironment() if n_nodes is None else nodes.environment()]
    if precision == "32":
        numbers = {"precision": "32-true"}
    else:  # given as a plugin, since Lightning turns 16 bits on a CPU into bf16 silently
        numbers, plugins = {}, [*plugins, MixedPrecision(precision, place)]
    if count > 1 or n_nodes is not None:
        # Graphics cards cannot follow a fork; on a CPU it spares the start of new processes.
        method = "popen" if n_nodes is not None else "spawn" if place == "cuda" else "fork"
        numbers["strategy"] = DDPStrategy(start_method=method)
        numbers["sync_batchnorm"] = place == "cuda"  # there is none for processors
    return Trainer(
        accelerator=place,
        devices=count,
        num_nodes=n_nodes or 1,
        use_distributed_sampler=False,  # our batches assign the parts to processes
        max_epochs=recipe.epochs,
        accumulate_grad_batches=recipe.accumulate,
        gradient_clip_val=recipe.gradient_clip or None,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        plugins=plugins,
        **numbers,
        **options,
    )


def _logger(loop):
    """Return a TensorBoard logger beside the checkpoint, if TensorBoard is installed."""
    from importlib.util import find_spec

    if loop.last is None or find_spec("tensorboard") is None:
        return False
    from lightning.pytorch.loggers import TensorBoardLogger

    place = loop.last.parent / "tensorboard"
    return TensorBoardLogger(place.parent, name=place.name, version=loop.last.stem)


def _resumable(loop):
    """Return the checkpoint of this run after restoring its history; None if there is none."""
    if loop.last is None or not loop.last.exists():
        return None
    try:
        checkpoint = torch.load(loop.last, map_location="cpu", weights_only=True)
        is_same = checkpoint["run"]["mark"] == loop.mark
    except Exception:  # torch raises many kinds on a damaged file; such a run starts anew
        is_same = False
    if not is_same:
        return None
    loop.on_load_checkpoint(checkpoint)
    return loop.last


def mark(module, choices, seed, *arrays):
    """Compute the digest of everything that determines the final weights.

    Parameters
    ----------
    module : torch.nn.Module
        With its initial weights, and with the scales that the training part taught.
    choices : dict
        JSON-able.
    seed : int
        As given to ``fit``.
    *arrays : ndarray
        E.g. the targets of the training and the validation part.

    Returns
    -------
    str
        Hexadecimal digits.
    """
    text = json.dumps(choices | {"seed": int(seed)}, sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode())
    for key, value in module.state_dict().items():
        digest.update(key.encode() + value.cpu().numpy().tobytes())
    for array in arrays:
        digest.update(array.tobytes() + b"|")
    return digest.hexdigest()


def draw(*key):
    """Compute one seed from several numbers."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
