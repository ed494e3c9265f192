"""Devices and precision of training, and settings of libraries during training."""

import ctypes
import logging
import signal
import threading
import warnings
from contextlib import contextmanager

import torch

from bids_sexclf.errors import InputError, ToolError


def device():
    """Return the graphics card, or the processor if there is none.

    Returns
    -------
    torch.device
    """
    # Apple's accelerator is not used: it lacks some 3D operations.
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def share():
    """Return the rank of this process among those that train together, and their number.

    Returns
    -------
    rank, world : int
        0 and 1 if it trains alone.
    """
    spread = torch.distributed
    if spread.is_available() and spread.is_initialized():
        return spread.get_rank(), spread.get_world_size()
    return 0, 1


def check_devices(count, folder, smallest, nodes=1):
    """Refuse training over missing devices, or with too few participants per step.

    Parameters
    ----------
    count : int
        Graphics cards of each machine, or processes where there is none.
    folder : path-like or None
        Through which processes give back what they have learnt.
    smallest : int
        Participants of the smallest batch.
    nodes : int
        Machines.

    Raises
    ------
    InputError
    """
    available = torch.cuda.device_count() if device().type == "cuda" else count
    world = count * nodes
    if world > 1 and (count > available or world > smallest or folder is None):
        over = "" if nodes == 1 else f" on each of {nodes} machines"
        raise InputError(
            f"Found {count} devices asked for{over}, {available} there, and batches of {smallest} "
            "participants or more; needed no more devices than there are, one participant for "
            "each, and a folder. Lower devices or num_nodes, raise batch_size, or let each process "
            "see all cards of its machine."
        )


def precision_of(recipe):
    """Return the precision of training on this machine.

    Parameters
    ----------
    recipe : settings.Recipe

    Returns
    -------
    {"32", "bf16-mixed", "16-mixed"}
    """
    if recipe.precision != "auto":
        return recipe.precision
    mixed = device().type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if mixed else "32"


def check_precision(recipe):
    """Refuse 16-bit precision on a processor.

    Parameters
    ----------
    recipe : settings.Recipe

    Raises
    ------
    InputError

    Notes
    -----
    With torch 2.15 the bfloat16 weight gradient of a channels-last 3D convolution of one channel
    contains uninitialised memory if the map has fewer planes than the kernel: training then gives
    NaN, or wrong numbers.
    """
    if device().type == "cpu" and precision_of(recipe) != "32":
        raise InputError(
            f"Found precision {recipe.precision} and no graphics card, needed 32 or auto: "
            "processors make wrong gradients of 3D convolutions in 16 bits. Correct precision, or "
            "train where there is a card."
        )


TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
"""What glibc's ``mallopt`` knows these limits by."""
LARGEST = 2**31 - 1
BEFORE = {MMAP_MAX: 65536, MMAP_THRESHOLD: 2**17, TRIM_THRESHOLD: 2**17}
"""glibc's own limits."""


@contextmanager
def keeping_memory():
    """Keep freed memory while a network computes on a processor, and release it afterwards.

    Otherwise the system takes back the activations of a 3D network after each step and allocates
    them again page by page, which takes about as long as the network itself. This works with glibc
    only; elsewhere nothing changes.
    """
    library = ctypes.CDLL(None) if device().type == "cpu" else None
    if not (hasattr(library, "mallopt") and hasattr(library, "malloc_trim")):
        yield
        return
    library.mallopt(MMAP_MAX, 0)
    library.mallopt(TRIM_THRESHOLD, LARGEST)
    try:
        yield
    finally:
        for limit, value in BEFORE.items():
            library.mallopt(limit, value)
        library.malloc_trim(0)


@contextmanager
def reproducible():
    """Use deterministic algorithms of cuDNN in full single precision."""
    with torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False):
        yield


@contextmanager
def quiet():
    """Silence Lightning's messages; errors are raised anyway."""
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
def interruptible():
    """Pass Ctrl+C on to the caller, since Lightning handles it by an exit."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    try:
        yield
    except SystemExit as stop:
        raise KeyboardInterrupt from stop
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)


@contextmanager
def within_memory(doing, remedy):
    """Convert errors of memory to ToolError with the activity and the setting to lower.

    Parameters
    ----------
    doing, remedy : str
        What goes into the message.

    Raises
    ------
    ToolError
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as fault:
        raise _out_of_memory(doing, remedy, fault) from fault
    except RuntimeError as fault:
        # torch has no special exception for exhausted processor memory.
        if "can't allocate memory" not in str(fault):
            raise
        raise _out_of_memory(doing, remedy, fault) from fault


def _out_of_memory(doing, remedy, fault):
    first = (str(fault).splitlines() or [""])[0][:200]
    return ToolError(
        f"Found no memory left while {doing} ({first or type(fault).__name__}), needed more. "
        f"{remedy}"
    )
