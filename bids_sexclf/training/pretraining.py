"""Pretrain a transformer on training volumes, without a target.

First a masked autoencoder on slices, whose encoder is inflated; then one on volumes. Pretraining
gets only the volumes of the training part of the fold, so neither a target nor a test participant
can reach it.

References
----------
He K, et al. Masked autoencoders are scalable vision learners. CVPR 2022.
doi:10.1109/CVPR52688.2022.01553
Chen J, et al. Sci Rep 2024. doi:10.1038/s41598-024-60340-y
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bids_sexclf.errors import InputError, ToolError
from bids_sexclf.settings import Recipe
from bids_sexclf.training import batches, devices, loop, nodes
from bids_sexclf.training.encoders import inflate_state, save_encoder
from bids_sexclf.training.mae import MaskedAutoencoder
from bids_sexclf.training.transformer import Encoder

ARMS = ("scratch", "probe", "finetune")
ENCODER = "encoder.safetensors"


@dataclass(frozen=True)
class Context:
    """The inputs of pretraining besides the volumes; they contain no target.

    Attributes
    ----------
    standardise : callable
        Raw volumes to (batch, channels, X, Y, Z), as the network will see them.
    scales : tuple of ndarray
        Centre and scale, which tell one training part from another.
    precision : str
    seed : int
    folder : pathlib.Path or None
        Keeps checkpoints, and the encoder in the end.
    progress : callable or None
    devices : int or nodes.Seat
        That train together.
    watch : callable or None
        Shown the name of each step and its autoencoder, before and after it learns, for example
        to measure its error on volumes that it does not learn from.
    """

    standardise: object
    scales: tuple
    precision: str
    seed: int
    folder: Path | None
    progress: object
    devices: object = 1
    watch: object = None


def check_options(options):
    """Refuse unknown arms, and arms without a pretrained encoder.

    Parameters
    ----------
    options : dict
        Of a variant.

    Raises
    ------
    InputError
    """
    arm = options.get("arm", "scratch")
    if arm not in ARMS:
        raise InputError(f"Found arm {arm!r}, needed one of {', '.join(ARMS)}. Correct the study.")
    epochs = [options.get(name, 1) for name in ("mae2d_epochs", "mae3d_epochs")]
    if arm != "scratch" and not any(epochs) and options.get("weights", "none") == "none":
        raise InputError(
            f"Found arm {arm!r} without mae2d_epochs, mae3d_epochs or weights, needed an encoder "
            "that has learnt something. Give one of them."
        )


def pretrain(
    network,
    volumes,
    context,
    *,
    arm="scratch",
    mae2d_epochs=100,
    mae3d_epochs=100,
    mae_slices=16,
    mae_batch_size=8,
    mae_learning_rate=1.5e-4,
    mae_weight_decay=0.05,
    mae_warmup=0.05,
    mask_ratio=0.75,
    normalize_patches=True,
    decoder_width=192,
    decoder_depth=4,
    decoder_heads=6,
    weights="none",
):
    """Pretrain the encoder of a network in place, according to its arm.

    Parameters
    ----------
    network : vit.Vit
    volumes : volumes.Rows, volumes.Channels or ndarray
        Of the training part.
    context : Context
    arm : {"scratch", "probe", "finetune"}
        No pretraining; pretraining, then only the head learns; pretraining, then all learns.
    mae2d_epochs, mae3d_epochs : int
        Of the autoencoder on slices, and of that on volumes; 0 leaves it out.
    mae_slices : int
        Slices of each participant in an epoch, drawn anew each time.
    mae_batch_size : int
        Participants per step.
    mae_learning_rate, mae_weight_decay, mae_warmup : float
        Largest step size (the authors of the method scale theirs by batch / 256), decoupled
        decay, and the share of the epochs over which the step size rises; then it falls along a
        cosine.
    mask_ratio : float
        Share of the patches that are hidden.
    normalize_patches : bool
        Whether each patch is foretold with mean 0 and variance 1, as its authors do, or as it is.
        Normalised, the brightness of a whole region against others is never asked for; choose
        false for maps with units, such as FA.
    decoder_width, decoder_depth, decoder_heads : int
    weights : str
        Where not ``"none"``, the network has begun with an encoder from a file: nothing is
        pretrained here.

    Returns
    -------
    dict
        Name of each step to its history.
    """
    if arm == "scratch":
        return {}
    histories, encoder = {}, network.encoder
    options = dict(encoder.options, drop_path=0.0)
    decoder = (decoder_width, decoder_depth, decoder_heads, mask_ratio, normalize_patches)
    shared = {
        "batch_size": mae_batch_size,
        "learning_rate": mae_learning_rate,
        "weight_decay": mae_weight_decay,
        "schedule": "cosine",
        "precision": context.precision,
    }
    if weights == "none" and mae2d_epochs:
        torch.manual_seed(loop.draw(context.seed, 2))
        plane = Encoder(
            encoder.grid[1:],
            encoder.patch[1:],
            encoder.channels,
            leftover=encoder.leftover,
            **options,
        )
        recipe = Recipe(epochs=mae2d_epochs, warmup_epochs=mae_warmup * mae2d_epochs, **shared)
        autoencoder = MaskedAutoencoder(plane, *decoder)
        histories["mae2d"] = _fit("mae2d", autoencoder, recipe, volumes, context, mae_slices)
        encoder.load_state_dict(inflate_state(plane.state_dict(), plane.counts, encoder))
    if weights == "none" and mae3d_epochs:
        # New weights do not depend on whether the step before was run or loaded.
        torch.manual_seed(loop.draw(context.seed, 3))
        whole = Encoder(
            encoder.grid, encoder.patch, encoder.channels, leftover=encoder.leftover, **options
        )
        whole.load_state_dict(encoder.state_dict())
        recipe = Recipe(epochs=mae3d_epochs, warmup_epochs=mae_warmup * mae3d_epochs, **shared)
        histories["mae3d"] = _fit(
            "mae3d", MaskedAutoencoder(whole, *decoder), recipe, volumes, context, None
        )
        encoder.load_state_dict(whole.state_dict())
    if histories and context.folder is not None and nodes.leads(context.devices):
        save_encoder(encoder, Path(context.folder) / ENCODER)
    if arm == "probe":
        network.freeze_encoder()
        raw = (np.asarray(volumes[index], np.float32)[None] for index in range(len(volumes)))
        network.standardise_features(context.standardise(torch.from_numpy(one)) for one in raw)
    return histories


def _fit(name, autoencoder, recipe, volumes, context, slices):
    """Train one autoencoder, or resume a killed run; return its history."""
    last = None if context.folder is None else Path(context.folder) / f"{name}.ckpt"
    choices = recipe.provenance() | {"slices": slices, "ratio": autoencoder.n_visible}
    choices["normalize"] = autoencoder.normalize
    mark = loop.mark(autoencoder, choices, context.seed, *context.scales)

    def tell(**entry):
        if context.progress is not None:
            context.progress(stage=name, **entry)

    reconstruction = Reconstruction(autoencoder, recipe, context.seed, mark, last, tell)
    reconstruction.standardise, reconstruction.slices = context.standardise, slices
    reconstruction.devices = context.devices
    size = recipe.batch_size
    reconstruction.batches = batches.Batches(len(volumes), size, reconstruction.key)
    unread = np.zeros(len(volumes))  # there is no target
    loader = batches.make_loader(
        batches.Part(volumes, unread), reconstruction.batches, devices.device()
    )
    watch = context.watch or (lambda name, autoencoder: None)
    watch(name, autoencoder)
    loop.run(reconstruction, loader)
    autoencoder.load_state_dict(reconstruction.final)
    watch(name, autoencoder)
    autoencoder.release()
    return reconstruction.history


class Reconstruction(loop.Loop):
    """Training on hidden patches; the last weights are kept."""

    kept = ("history", "final")
    final, slices, standardise = None, None, None

    def on_train_epoch_start(self):
        """Reset the sum of an interrupted epoch."""
        self.total = 0.0

    def training_step(self, batch, index):
        """Return the loss on the hidden patches of volumes, or of slices drawn from them."""
        volumes = self.standardise(batch[0])
        if self.slices is not None:
            volumes = draw_slices(volumes, self.slices)
        loss = self.module(volumes)
        if not torch.isfinite(loss):
            raise ToolError(
                f"Found a reconstruction loss of {loss.item()} in epoch {self.epoch}, needed a "
                "finite number. Lower mae_learning_rate."
            )
        self.total += loss.item() / len(self.batches)
        return loss  # processes have equal numbers of patches, except for a last odd participant

    def judge(self):
        """Return the loss; keep the weights of the last epoch."""
        if self.epoch + 1 >= self.recipe.epochs:
            state = self.module.state_dict()
            self.final = {key: value.detach().cpu().clone() for key, value in state.items()}
        (total,) = self.gather([self.total])
        return {"train_loss": total / devices.share()[1]}


def draw_slices(volumes, count):
    """Draw sagittal slices that are not constant, separately for each volume.

    Parameters
    ----------
    volumes : torch.Tensor, shape (batch, channels, X, Y, Z)
    count : int
        Of each volume, with replacement.

    Returns
    -------
    torch.Tensor, shape (batch * count, channels, Y, Z)
    """
    # A constant slice has nothing to predict.
    varied = (volumes.amax((1, 3, 4)) > volumes.amin((1, 3, 4))).float().cpu()
    chosen = torch.multinomial(varied + 1e-12, count, replacement=True).to(volumes.device)
    index = chosen[:, None, :, None, None].expand(
        -1, volumes.shape[1], -1, volumes.shape[3], volumes.shape[4]
    )
    return volumes.gather(2, index).transpose(1, 2).flatten(0, 1)
