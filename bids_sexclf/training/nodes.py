"""One of several processes that were started externally, one per device, on one machine or more.

They are started by srun, torchrun or by hand. Lightning's cluster environments give the rank of
this process; the processes find each other through a store of the first one.
"""

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from lightning.pytorch.plugins.environments import (
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)

from bids_sexclf.errors import InputError, ToolError
from bids_sexclf.training import devices

BY_HAND = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK")
"""What must be set where neither srun nor torchrun has started the processes."""

PATIENCE = 600
"""Seconds for all processes to come: containers may start minutes apart."""


@dataclass(frozen=True)
class Seat:
    """The rank of one process among those that train together.

    Attributes
    ----------
    rank, local_rank : int
        Number among all, and on this machine: the number of its device.
    devices, num_nodes : int
        Processes on each machine; machines.
    group : str
        Tells this training from any before it; the same for all.
    """

    rank: int
    local_rank: int
    devices: int
    num_nodes: int
    group: str = ""

    @property
    def world(self):
        """Number of processes."""
        return self.devices * self.num_nodes


def leads(devices):
    """Return whether this process writes the results: it trains alone, or is the first.

    Parameters
    ----------
    devices : int or Seat

    Returns
    -------
    bool
    """
    return not isinstance(devices, Seat) or devices.rank == 0


def environment():
    """Detect what started this process, which is one of several.

    Returns
    -------
    lightning.pytorch.plugins.environments.ClusterEnvironment

    Raises
    ------
    InputError
        If the rank of this process is unknown.
    """
    with devices.quiet():
        if TorchElasticEnvironment.detect():
            return TorchElasticEnvironment()
        if SLURMEnvironment.detect():
            _check_step()
            try:
                return SLURMEnvironment(auto_requeue=False)
            except RuntimeError as fault:  # e.g. --ntasks without --ntasks-per-node
                raise InputError(
                    f"Found a Slurm job that Lightning cannot use ({fault}), needed "
                    "--nodes as num_nodes and --ntasks-per-node as devices. Start it so."
                ) from fault
    missing = [name for name in BY_HAND if name not in os.environ]
    if missing:
        raise InputError(
            "Found num_nodes, and nothing that tells which of the processes this one is: neither "
            f"srun (of a job not named bash or interactive) nor torchrun, and no "
            f"{', '.join(missing)}; needed one of the three. Start one process per device by "
            "srun or torchrun, set these variables for each, or leave num_nodes out. A container "
            "must see the variables too: apptainer hides them with --cleanenv."
        )
    return LightningEnvironment()


def _check_step():
    """Refuse to run in the batch script of a Slurm job, which is a single process."""
    if "SLURM_STEP_ID" not in os.environ:
        raise InputError(
            "Found num_nodes in a Slurm job without srun, which starts this command once; needed "
            "one process per device. Put srun before the command."
        )


def take_seat(devices, num_nodes):
    """Return the rank of this process.

    Parameters
    ----------
    devices, num_nodes : int
        As in the settings.

    Returns
    -------
    Seat

    Raises
    ------
    InputError
        If the rank is unknown, or the number of processes differs from the settings.
    """
    place, requested = environment(), devices * num_nodes
    if (
        type(place) is LightningEnvironment
    ):  # this environment needs the number of processes, others know it
        place.set_world_size(int(os.environ.get("WORLD_SIZE", requested)))
        place.set_global_rank(place.node_rank() * devices + place.local_rank())
    seat = Seat(place.global_rank(), place.local_rank(), devices, num_nodes)
    detail = ""
    try:
        place.validate_settings(devices, num_nodes)
    except ValueError as fault:
        detail = f" ({fault})"
    fits = place.world_size() == requested and seat.rank < requested and seat.local_rank < devices
    if detail or not fits:
        raise InputError(
            f"Found process {seat.rank} of {place.world_size()}, number {seat.local_rank} on its "
            f"machine, for devices {devices} x num_nodes {num_nodes} = {requested} "
            f"processes{detail}; needed one process per device, numbered from 0. Correct devices "
            "and num_nodes, or how the processes are started."
        )
    os.environ["MASTER_ADDR"] = place.main_address
    os.environ["MASTER_PORT"] = str(place.main_port)
    return seat


def meet(seat, patience=PATIENCE):
    """Open the store by which the processes communicate.

    Parameters
    ----------
    seat : Seat
    patience : float
        Seconds to wait for the first process.

    Returns
    -------
    torch.distributed.Store

    Raises
    ------
    ToolError
        If the first process cannot be reached.
    """
    place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    try:
        meeting = torch.distributed.rendezvous(
            "env://", seat.rank, seat.world, timeout=timedelta(seconds=patience)
        )
        return next(iter(meeting))[0]
    except RuntimeError as fault:  # torch raises several kinds here
        raise ToolError(
            f"Found no way for process {seat.rank} to meet the others at {place} "
            f"({_first_line(fault)}), needed the first process to hold this address. Look whether "
            "it runs, whether another program holds the port, and whether a firewall is between "
            "them; MASTER_ADDR and MASTER_PORT choose another."
        ) from fault


def _first_line(fault):
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0][:200]


@contextmanager
def joined(seat, name):
    """Connect with the other processes for training, while the block runs.

    Parameters
    ----------
    seat : Seat
    name : str
        Of this run of epochs, the same for all.

    Notes
    -----
    After a fault the connections stay open until the process ends. Otherwise the other processes
    would fail too, and might report their errors first.
    """
    spread = torch.distributed
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = spread.TCPStore(address, port, is_master=False)
    backend, card = "gloo", None
    if devices.device().type == "cuda":
        backend, card = "nccl", torch.device("cuda", seat.local_rank)
        torch.cuda.set_device(card)
    spread.init_process_group(
        backend,
        store=spread.PrefixStore(f"{seat.group}/{name}", store),
        rank=seat.rank,
        world_size=seat.world,
        device_id=card,
    )
    yield
    spread.destroy_process_group()


def agree(value):
    """Return the value of the first process in all processes; the value itself if alone.

    Parameters
    ----------
    value : object

    Returns
    -------
    object
    """
    if devices.share()[1] == 1:
        return value
    container = [value]
    torch.distributed.broadcast_object_list(container, src=0)
    return container[0]


def check_same(number, noun):
    """Raise InputError in all processes if a number differs between them.

    Parameters
    ----------
    number : int
    noun : str
        For the message.

    Raises
    ------
    InputError
    """
    numbers = [None] * devices.share()[1]
    torch.distributed.all_gather_object(numbers, number)
    if len(set(numbers)) > 1:
        raise InputError(
            f"Found {noun} {', '.join(map(str, numbers))} in processes that train together, needed "
            "one number: they must see the same folders. Look at what is mounted where."
        )
