"""Where training computes, with which numbers, and how it leaves its surroundings alone."""

import ctypes
import logging
import signal
import threading
import warnings
from contextlib import contextmanager

import torch

from bids_sexclf.errors import InputError, ToolError


def device():
    """Choose the graphics card where there is one.

    Returns
    -------
    torch.device
    """
    # Apple's accelerator is passed over: it lacks some of the 3D operations.
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def share():
    """Give the number of this process among those that train together, and their count.

    Returns
    -------
    rank, world : int
        0 and 1 where it trains alone.
    """
    spread = torch.distributed
    if spread.is_available() and spread.is_initialized():
        return spread.get_rank(), spread.get_world_size()
    return 0, 1


def check_devices(count, folder, smallest, nodes=1):
    """Refuse to spread training over devices that are not there, or over too few participants.

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
    held = torch.cuda.device_count() if device().type == "cuda" else count
    world = count * nodes
    if world > 1 and (count > held or world > smallest or folder is None):
        over = "" if nodes == 1 else f" on each of {nodes} machines"
        raise InputError(
            f"Found {count} devices asked for{over}, {held} there, and batches of {smallest} "
            "participants or more; needed no more devices than there are, one participant for "
            "each, and a folder. Lower devices or num_nodes, raise batch_size, or let each process "
            "see all cards of its machine."
        )


def precision_of(recipe):
    """Say with which numbers to train here.

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
    """Refuse numbers of 16 bits where a processor computes.

    Parameters
    ----------
    recipe : settings.Recipe

    Raises
    ------
    InputError

    Notes
    -----
    With torch 2.15 the bfloat16 weight gradient of a channels-last 3D convolution of one channel
    holds memory that nobody has written where the map has fewer planes than the kernel: training
    then ends in NaN, or worse, does not.
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
    """Keep freed memory while a network computes on a processor, and give it back afterwards.

    The system otherwise takes each activation of a 3D network back after a step and hands it out
    again page by page in the next, which takes about as long as the network does. Only glibc is
    asked for it; elsewhere nothing changes.
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
def interruptible():
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


@contextmanager
def within_memory(doing, remedy):
    """Name what ran out of memory, and which setting to lower.

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
        # What torch raises where the processor's own memory is used up has no kind of its own.
        if "can't allocate memory" not in str(fault):
            raise
        raise _out_of_memory(doing, remedy, fault) from fault


def _out_of_memory(doing, remedy, fault):
    first = (str(fault).splitlines() or [""])[0][:200]
    return ToolError(
        f"Found no memory left while {doing} ({first or type(fault).__name__}), needed more. "
        f"{remedy}"
    )
