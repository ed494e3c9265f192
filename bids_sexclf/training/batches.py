"""Assign participants to batches, and read them while the network computes."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from bids_sexclf.training import devices

LARGE = 2**20
"""Voxels of a batch from which reading it beside the computing is worth a process."""


class Part(Dataset):
    """A dataset that reads all participants of one batch at once.

    Parameters
    ----------
    inputs : volumes.Rows, volumes.Channels or ndarray, shape (n, ..., X, Y, Z)
    target : ndarray, shape (n,)
    augment : callable, optional
        Called with a volume and its key, and gives the tensor that the network sees.
    """

    def __init__(self, inputs, target, augment=None):
        self.inputs, self.target, self.augment = inputs, target, augment

    def __len__(self):
        return len(self.target)

    def __getitem__(self, batch):
        *key, index = batch
        # Indexing has made a copy, so it can be changed.
        volumes = np.asarray(self.inputs[index], dtype=np.float32)
        if self.augment is not None:
            changed = [self.augment(*pair) for pair in zip(volumes, _keys(key, index), strict=True)]
            volumes = torch.stack(changed)
        else:
            volumes = torch.from_numpy(volumes)
        return volumes, torch.from_numpy(self.target[index].astype(np.float32))


def _keys(key, index):
    """Return the seeds of augmentation for each participant of a batch."""
    return [(*key, int(row)) for row in index]


class Batches(Sampler):
    """A sampler that assigns participants to batches of nearly equal size.

    No batch has a single participant while others have more: batch normalisation needs two, and
    one participant would have the weight of a whole batch. With a size of two and an odd number,
    one batch therefore has three.

    Parameters
    ----------
    n_participants, size : int
    key : callable, optional
        Gives the numbers that seed the shuffle of the coming epoch; in order by default. Each
        batch begins with them, and ends with the rows of its participants. Where several
        processes train together, each gets its part of every shuffled batch.
    """

    def __init__(self, n_participants, size, key=None):
        largest = n_participants if size == 1 else max(1, n_participants // 2)
        self.n_participants, self.key = n_participants, key
        self.n_batches = min(-(-n_participants // size), largest)

    def __len__(self):
        return self.n_batches

    def __iter__(self):
        order, key = np.arange(self.n_participants), []
        if self.key is not None:
            key = list(self.key())
            order = np.random.default_rng(key).permutation(order)
        rank, world = devices.share() if key else (0, 1)
        for index in np.array_split(order, self.n_batches):
            yield (*key, np.array_split(index, world)[rank])

    @property
    def sizes(self):
        """Return the number of participants of each batch."""
        return [len(index) for index in np.array_split(range(self.n_participants), len(self))]

    def weigh(self, accumulate):
        """Return the number of participants in the step of each batch.

        Parameters
        ----------
        accumulate : int
            Batches per step; the last step of an epoch may have fewer.

        Returns
        -------
        list of int
            One per batch.
        """
        sizes = self.sizes
        starts = range(0, len(sizes), accumulate)
        totals = [sum(sizes[start : start + accumulate]) for start in starts]
        return [totals[batch // accumulate] for batch in range(len(sizes))]


def make_loader(part, batches, device):
    """Return a loader that reads ahead if this saves time.

    A worker process needs seconds to start and copies every batch, so small batches are read by
    the computing process. The data do not depend on this choice.

    Parameters
    ----------
    part : Part
    batches : Batches
    device : torch.device

    Returns
    -------
    torch.utils.data.DataLoader
    """
    workers = choose_workers(part, len(part) / max(len(batches), 1), device)
    ahead = {"persistent_workers": True, "multiprocessing_context": "fork"} if workers else {}
    return DataLoader(
        part,
        batch_size=None,
        sampler=batches,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        **ahead,
    )


def choose_workers(part, batch, device):
    """Return the number of processes that read ahead: none on a CPU or for small batches.

    Parameters
    ----------
    part : Part
    batch : float
        Participants of a batch.
    device : torch.device

    Returns
    -------
    int
        On a CPU, the network itself uses all processors.
    """
    from bids_sexclf.execute import processors

    voxels = np.prod(part.inputs.shape[1:]) * batch
    if device.type == "cpu" or voxels < LARGE:
        return 0
    return max(0, min(4, processors() - 1))


TOGETHER = 8
"""Volumes that pass a network at once on a graphics card."""


def choose_size(shape, device):
    """Return the number of volumes per batch for prediction.

    With batches of one size, the result of a volume does not depend on its position or on other
    volumes, to the last bit; with other sizes it may. So the size depends only on the grid and the
    machine.

    Parameters
    ----------
    shape : tuple of int
        (n, ..., X, Y, Z).
    device : torch.device

    Returns
    -------
    int
    """
    small = np.prod(shape[1:]) <= LARGE
    return TOGETHER if device.type == "cuda" and small else 1


def read_ahead(inputs, size, device):
    """Read batches of exactly one size; with a graphics card, read the next one in parallel.

    A processor computes with all its cores: a parallel reading thread would take one of them and
    make the others wait, which costs more than the copy.

    Parameters
    ----------
    inputs : volumes.Rows, volumes.Channels or ndarray, shape (n, ..., X, Y, Z)
    size : int
    device : torch.device

    Yields
    ------
    ndarray of float32, shape (size, ..., X, Y, Z)
        The last batch is padded with its last volume.
    """

    def read(start):
        rows = np.minimum(np.arange(start, start + size), len(inputs) - 1)
        volumes = inputs[int(start)][None] if size == 1 else inputs[rows]
        return np.array(volumes, dtype=np.float32)

    starts = range(0, len(inputs), size)
    if device.type == "cpu" or isinstance(inputs, np.ndarray) or len(starts) < 2:
        yield from map(read, starts)
        return
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(read, 0)
        for start in starts[1:]:
            ready, coming = coming.result(), reader.submit(read, start)
            yield ready
        yield coming.result()
