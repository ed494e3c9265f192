"""Choices of training a network, for all models of a study or for one variant."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from bids_sexclf.settings.records import Record, choice


class Recipe(Record):
    """Training of networks: a variant may replace each of these choices."""

    epochs: int = choice(
        30, "Largest number of passes over the training part.", minimum=1, maximum=100_000
    )
    patience: int = choice(
        8,
        "Number of epochs without a better validation before training stops; equal to epochs: "
        "never.",
        minimum=1,
        maximum=100_000,
    )
    choose_by: Literal["loss", "auc", "mae"] = choice(
        "loss",
        "Criterion, on the validation part, for the epoch whose weights are kept: the loss, "
        "the AUC (sex) or the mean absolute error (age); of equal epochs, the one with the "
        "lowest loss.",
    )
    loss: Literal["auto", "cross_entropy", "mse", "l1"] = choice(
        "auto", "Loss function: cross-entropy for sex; for age mse (auto) or l1."
    )
    class_weights: Literal["balanced", "none"] = choice(
        "balanced", "Whether both sexes have equal weight in the loss."
    )
    batch_size: int = choice(
        8, "Participants per pass through the network.", minimum=1, maximum=4096
    )
    accumulate: int = choice(
        1,
        "Number of batches whose gradients are averaged, over participants, for one step.",
        minimum=1,
        maximum=4096,
    )
    optimizer: Literal["adam", "adamw", "sgd"] = choice(
        "adamw", "Optimizer; weight_decay is decoupled in adamw and L2 in the others."
    )
    learning_rate: float = choice(3e-4, "Largest step size.", minimum=1e-8, maximum=100)
    weight_decay: float = choice(0.0, "Strength of weight decay.", minimum=0, maximum=100)
    adam_epsilon: float = choice(
        1e-8, "Added to the denominator of adam and adamw.", minimum=0, maximum=1
    )
    momentum: float = choice(0.9, "Momentum of sgd.", minimum=0, maximum=1)
    schedule: Literal["none", "step", "cosine"] = choice(
        "none",
        "Decrease of the step size: none, by schedule_factor at each of the milestones, or "
        "along half a cosine to zero at the last epoch.",
    )
    milestones: list[Annotated[int, Field(ge=1, le=100_000)]] = choice(
        [],
        "Epochs, counted from 0, at which the step size decreases (schedule step).",
        once=True,
    )
    schedule_factor: float = choice(
        0.1, "Factor of the step size at each milestone.", minimum=0, maximum=1
    )
    warmup_epochs: float = choice(
        0.0,
        "Epochs over which the step size increases from zero, for any schedule.",
        minimum=0,
        maximum=100_000,
    )
    layer_decay: float = choice(
        1.0,
        "Factor of the step size per layer towards the input, for networks with numbered "
        "layers (vit).",
        minimum=1e-3,
        maximum=1,
    )
    gradient_clip: float = choice(
        0.0,
        "Largest norm of the gradient of a step; larger ones are scaled down. 0: no limit.",
        minimum=0,
        maximum=1e9,
    )
    precision: Literal["auto", "32", "bf16-mixed", "16-mixed"] = choice(
        "auto",
        "Precision of training: single, or mixed with 16 bits, which only graphics cards "
        "support. auto: bf16-mixed on a card that supports it, else 32.",
    )
    standardize: Literal["voxel", "map", "none"] = choice(
        "map", "Centre and scale by the training part: each voxel, the whole map, or none."
    )
    augment_flip: float = choice(
        0.0,
        "Augmentation of training volumes: probability that left and right are exchanged.",
        minimum=0,
        maximum=1,
    )
    augment_rotation: float = choice(
        0.0, "Augmentation: largest rotation about each axis, degrees.", minimum=0, maximum=180
    )
    augment_zoom: float = choice(
        0.0, "Augmentation: largest change of size along each axis, share.", minimum=0, maximum=0.9
    )
    augment_shift: float = choice(
        0.0, "Augmentation: largest shift along each axis, voxels.", minimum=0, maximum=512
    )
    augment_gain: float = choice(
        0.0, "Augmentation: largest change of all intensities, share.", minimum=0, maximum=1
    )
    augment_offset: float = choice(
        0.0,
        "Augmentation: largest shift of all intensities, in SDs of the map.",
        minimum=0,
        maximum=100,
    )
    augment_noise: float = choice(
        0.0,
        "Augmentation: largest SD of noise, drawn for each volume, in SDs of the map.",
        minimum=0,
        maximum=100,
    )
    crop: list[Annotated[int, Field(ge=1, le=1024)]] | None = choice(
        None,
        "Augmentation: size (X Y Z, voxels) of a random part of the volume that is used in "
        "training; for networks that accept any grid. Validation and test use whole volumes.",
    )
    random_seed: int = choice(20240, "Seed of every random step.", minimum=0, maximum=2**32 - 1)

    @field_validator("precision", mode="before")
    @classmethod
    def _text(cls, value):
        return str(value) if type(value) is int else value

    @field_validator("crop")
    @classmethod
    def _three(cls, value):
        if value is not None and len(value) != 3:
            raise ValueError("needs three sizes, X Y Z")
        return value
