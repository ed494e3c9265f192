"""Networks trained on photographs, on slices of a volume: Khanna's transfer learning.

References
----------
Wightman R. PyTorch image models. 2019. doi:10.5281/zenodo.4414861
"""

import torch
from torch import nn

from bids_sexclf.errors import InputError, ToolError, suggest
from bids_sexclf.models._slices import VIEWS, in_chunks
from bids_sexclf.training import networks, weight_files

READS = "volumes"
SOURCE = "[@wightman2019]"
GRIDS = "any"
CHUNK = 16
BACKBONES = (
    "resnet50",
    "efficientnet_b1",
    "vgg16",
    "inception_v3",
    "xception",
    "inception_resnet_v2",
)
"""Those of the papers; any other of timm's convolutional networks will do as well."""
RENAMED = {"xception": "legacy_xception"}
PERCENTILES = (0.5, 99.5)
"""Of the voxels of a map; what lies between them becomes [0, 1], what lies beyond is cut."""
TINY = {"backbone": "resnet10t", "weights": "none", "slices": 2, "size": 32}


class ImageNet2d(nn.Module):
    """Apply an ImageNet network to slices as images, and average its outputs.

    Parameters
    ----------
    backbone : torch.nn.Module
        Of timm; ``forward_features`` carries images to maps (n, ``num_features``, h, w).
    look : dict
        ``size``, pixels; ``mean`` and ``std``, of the channels of an image in [0, 1].
    indices : list of int
        Slices to show.
    axis : int
        Along which they lie.
    outputs : int
    frozen : bool
        Let only the last layer learn; the backbone stays in evaluation mode.
    """

    def __init__(self, backbone, look, indices, axis, outputs, frozen):
        super().__init__()
        self.backbone, self.size, self.indices, self.axis = backbone, look["size"], indices, axis
        self.head = nn.Linear(backbone.num_features, outputs)
        self.frozen = frozen
        for name in ("mean", "std"):
            values = torch.tensor(look[name], dtype=torch.float32).reshape(-1, 1, 1)
            self.register_buffer(name, values, persistent=False)
        if frozen:
            self.backbone.requires_grad_(False)
            self.train(self.training)

    def train(self, mode=True):
        """Switch training mode; a frozen backbone, with its normalisations, stays in evaluation."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def forward(self, volumes):
        """Return outputs (batch, outputs) of volumes (batch, channels, X, Y, Z)."""
        return self.slice_logits(volumes).mean(1)

    def slice_logits(self, volumes):
        """Return the outputs of each slice, whose mean is the participant's.

        Parameters
        ----------
        volumes : torch.Tensor, shape (batch, channels, X, Y, Z)

        Returns
        -------
        torch.Tensor, shape (batch, slices, outputs)
            In the order of ``indices``, which count slices from 0.
        """
        images = self.images(volumes)
        # In training, the whole batch passes at once, since normalisation uses its statistics.
        size = None if self.backbone.training else CHUNK
        features = in_chunks(self.features, images.flatten(0, 1), size)
        return self.head(features).unflatten(0, (len(volumes), len(self.indices)))

    @property
    def slice_names(self):
        """Name the slices by view and number, from 0."""
        view = next(view for view, axis in VIEWS.items() if axis == self.axis)
        return [f"{view} {index}" for index in self.indices]

    def features(self, images):
        """Return the mean of the backbone's last maps, without the layers that follow in it.

        Parameters
        ----------
        images : torch.Tensor, shape (n, 3 or channels, size, size)

        Returns
        -------
        torch.Tensor, shape (n, ``backbone.num_features``)

        Raises
        ------
        InputError
            If the backbone returns no maps.
        """
        maps = self.backbone.forward_features(images)
        if maps.ndim != 4 or maps.shape[1] != self.backbone.num_features:
            raise InputError(
                f"Found a backbone that carries images to {tuple(maps.shape)}, needed maps of "
                f"{self.backbone.num_features} features. Choose a convolutional one."
            )
        return maps.mean((2, 3))

    def images(self, volumes):
        """Return slices in the format of the backbone.

        Parameters
        ----------
        volumes : torch.Tensor, shape (batch, channels, X, Y, Z)

        Returns
        -------
        torch.Tensor, shape (batch, slices, 3 or channels, size, size)
            Upright, in the middle of a square; one map three times.
        """
        stack = scale(volumes).movedim(2 + self.axis, 1)[:, self.indices]
        batch, n_slices, channels, height, width = stack.shape
        upright = stack.transpose(-1, -2).flip(-2).flatten(0, 1)
        # After the transpose rows run along the second axis; padding is told last axis first.
        padding = [max(height, width) - length for length in (height, width)]
        ends = [end for gap in padding for end in (gap // 2, gap - gap // 2)]
        square = nn.functional.pad(upright, ends)
        resized = nn.functional.interpolate(
            square, (self.size, self.size), mode="bilinear", antialias=True
        )
        if channels == 1:
            resized = resized.expand(-1, 3, -1, -1)
        return ((resized - self.mean) / self.std).unflatten(0, (batch, n_slices))


def scale(volumes):
    """Scale every map of every participant to [0, 1] between two percentiles of its voxels.

    Parameters
    ----------
    volumes : torch.Tensor, shape (batch, channels, X, Y, Z)

    Returns
    -------
    torch.Tensor
        Of the same shape; values beyond the percentiles are clipped. 0 where a map is constant.
    """
    voxels = volumes.flatten(2)
    n_voxels = voxels.shape[-1]
    # torch.quantile refuses more than 16 million numbers.
    low, high = (
        voxels.kthvalue(1 + round(share / 100 * (n_voxels - 1)), -1, keepdim=True).values
        for share in PERCENTILES
    )
    width = torch.where(high > low, high - low, 1.0)
    return ((voxels - low) / width).clamp(0, 1).reshape(volumes.shape)


def build(
    grid=(182, 218, 182),
    channels=1,
    outputs=2,
    backbone="resnet50",
    weights="imagenet",
    frozen=False,
    view="axial",
    slices=16,
    extent=(0.2, 0.8),
    size=None,
):
    """Build the network with weights from ImageNet, or with new ones.

    Parameters
    ----------
    grid : tuple of int
        (X, Y, Z); the axes point right, front and up.
    channels : int
        Maps read together. One is shown three times, as a grey photograph; three are shown as its
        colours; of other numbers each is a colour, and the first layer's weights are spread over
        them.
    outputs : int
        2: one per sex, female first. 1: the logit for male.
    backbone : str
        A convolutional network of timm, e.g. ``resnet50``, ``efficientnet_b1``, ``vgg16``,
        ``inception_v3``, ``xception``, ``inception_resnet_v2``. The layers that follow its last
        maps, VGG's three for example, are left out.
    weights : str
        ``"imagenet"``: from the Hugging Face hub, or from its cache on this machine.
        ``"none"``: fresh. Else a file of the backbone's weights, with timm's names.
    frozen : bool
        Let only the last layer learn.
    view : {"axial", "coronal", "sagittal"}
        Which slices are shown.
    slices : int
        How many, evenly spaced. All of them pass at once in training: memory grows with their
        number times the batch size, unless the backbone is frozen.
    extent : pair of float
        Where they lie: shares of the axis, 0 at its left, back or lower end.
    size : int, optional
        Pixels of an image; what the backbone was trained on by default.

    Returns
    -------
    torch.nn.Module
        With ``slice_logits``, whose mean over slices is the output.

    Raises
    ------
    InputError
        If there is no such backbone, view or slice, or weights do not fit.
    ToolError
        If ImageNet weights are neither on this machine nor available for download.
    """
    if view not in VIEWS:
        raise InputError(
            f"Found view {view!r}, needed one of {', '.join(VIEWS)}. Correct the option."
        )
    indices = choose_slices(grid[VIEWS[view]], slices, extent)
    network = _backbone(backbone, weights, 3 if channels == 1 else channels)
    pretrained = network.pretrained_cfg
    look = {
        name: pretrained[name] if channels in (1, 3) else [sum(pretrained[name]) / 3] * channels
        for name in ("mean", "std")
    }
    look["size"] = pretrained["input_size"][-1] if size is None else size
    return ImageNet2d(network, look, indices, VIEWS[view], outputs, frozen)


def choose_slices(n_slices, count, extent):
    """Choose slices, evenly spaced.

    Parameters
    ----------
    n_slices : int
        Of the volume.
    count : int
        At most so many; a slice is taken once.
    extent : pair of float
        Shares of the axis, [0, 1].

    Returns
    -------
    list of int
        Rising.

    Raises
    ------
    InputError
        If there are none.

    Examples
    --------
    >>> choose_slices(101, 4, (0.2, 0.8))
    [20, 40, 60, 80]
    """
    first, last = extent
    if not (0 <= first <= last <= 1 and count >= 1):
        raise InputError(
            f"Found {count} slices between {first} and {last} of the axis, needed at least one, "
            "within [0, 1]. Correct slices or extent."
        )
    places = torch.linspace(first, last, count, dtype=torch.float64, device="cpu")
    if count == 1:
        places = places.new_tensor([(first + last) / 2])
    return sorted(set((places * (n_slices - 1)).round().long().tolist()))


def _backbone(name, weights, channels):
    """Make a backbone of timm without its last layer; nothing in it works in place."""
    import timm

    entry = RENAMED.get(name, name)
    if not timm.is_model(entry):
        raise InputError(
            f"Found backbone {name!r}, needed one of {', '.join(BACKBONES)}, or another of timm's "
            f"names. Correct the option.{suggest([name], timm.list_models())}"
        )
    options = {"num_classes": 0, "in_chans": channels}
    if weights == "imagenet":
        network = _from_hub(entry, options)
    elif weights == "none":
        network = timm.create_model(entry, **options)
    else:
        network = _from_file(entry, weights, options)
    for part in network.modules():
        if hasattr(part, "inplace"):
            part.inplace = False  # gradient attributions need the unmodified activations
    if hasattr(network, "pre_logits"):
        network.pre_logits = nn.Identity()  # of VGG: its top, which nothing here passes through
    return network


def _from_hub(entry, options):
    import timm

    try:
        return timm.create_model(entry, pretrained=True, **options)
    except Exception as fault:  # the hub's client raises a dozen kinds, all for the same reason
        place = timm.get_pretrained_cfg(entry).hf_hub_id or entry
        raise ToolError(
            f"Found no ImageNet weights of {entry!r}, neither on this machine nor at the hub "
            f"({type(fault).__name__}); needed {place} from huggingface.co. Connect once, or set "
            "HF_HOME to a folder that holds them, or give the file as weights, or set weights to "
            "'none' for fresh ones."
        ) from fault


def _from_file(entry, path, options):
    import timm

    state = weight_files.read(path)
    try:
        network = timm.create_model(
            entry, pretrained=True, pretrained_cfg_overlay={"state_dict": state}, **options
        )
        # timm does not mind what is missing once its last layer is left out.
        missing = [name for name in network.state_dict() if name not in state]
        missing = [name for name in missing if not name.endswith(weight_files.COUNTER)]
        fault = f"it lacks {', '.join(missing[:3])}" if missing else None
    except (RuntimeError, KeyError) as caught:
        fault = str(caught).splitlines()[0][:200]
    if fault is not None:
        raise InputError(
            f"Found {path}, which does not hold the weights of {entry!r} ({fault}); needed those "
            "of timm's network of this name. Choose the file or the backbone that belongs to the "
            "other."
        )
    return network


Classifier = networks.network(build, layout=torch.channels_last)
