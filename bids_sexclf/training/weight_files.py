"""Read published weights and load them into a network, without executing code."""

from pathlib import Path

import torch

from bids_sexclf.disk import digest_file, whole
from bids_sexclf.errors import InputError
from bids_sexclf.training.outside import find_file

WRAPPERS = ("state_dict", "model")
DIGEST = ".sha256"
"""Ends the name of the file beside weights that tells their digest, as sha256sum writes it."""

COUNTER = "num_batches_tracked"
"""Steps of a batch normalisation; older files lack it, and evidence does not depend on it."""


def read(path):
    """Read a file of weights without executing code in it.

    Parameters
    ----------
    path : path-like
        Safetensors, or what ``torch.save`` wrote of tensors alone.

    Returns
    -------
    dict of str to torch.Tensor
        On the CPU; without the wrapper of a checkpoint and without the ``module.`` that
        parallel training puts before every name.

    Raises
    ------
    InputError
        If the file is absent or damaged, or contains other objects than tensors, or non-finite
        values; if the digest file beside it (`DIGEST`) does not match.

    Notes
    -----
    Files of weights have no checksum: a changed file can be detected only with the published
    digest beside it.
    """
    path = find_file(path)
    _check_digest(path)
    try:
        content = _open(path)
    except Exception as fault:  # torch and safetensors raise many kinds on a damaged file
        raise InputError(
            f"Found {path}, from which no weights can be read without running code of unknown "
            f"origin ({type(fault).__name__}: {str(fault).splitlines()[0][:200]}); needed a file "
            "of tensors alone: safetensors, or torch.save of a state_dict. Correct the path, or "
            "save the weights in that form."
        ) from fault
    for key in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(map(torch.is_tensor, content.values())):
        raise InputError(
            f"Found {path}, which does not hold named tensors; needed a state_dict. Save the "
            "weights of the network, not the network."
        )
    state = {str(name).removeprefix("module."): value for name, value in content.items()}
    _check_finite(state, path)
    return state


def _check_finite(state, path):
    """Refuse weights that are not finite, as after a flipped bit in an exponent."""
    wrong = [
        name
        for name, value in state.items()
        if value.is_floating_point() and not torch.isfinite(value).all()
    ]
    if wrong:
        raise InputError(
            f"Found {path} whose {wrong[0]} holds values that are not finite, needed weights that "
            "were learnt. The file is damaged: fetch it again."
        )


def write_digest(path):
    """Write the digest of a file of weights beside it."""
    with whole(f"{path}{DIGEST}") as part:
        part.write_text(f"{digest_file(path)}  {Path(path).name}\n")


def _check_digest(path):
    """Refuse a file of weights that does not match the digest beside it."""
    beside = Path(f"{path}{DIGEST}")
    if not beside.exists():
        return
    try:
        expected = beside.read_text().split()[0].lower()
    except (OSError, ValueError, IndexError) as fault:
        raise InputError(
            f"Found {beside}, which tells no digest ({fault}), needed what sha256sum writes. Write "
            "it again, or remove it."
        ) from fault
    if expected != digest_file(path):
        raise InputError(
            f"Found {path} with other content than {beside.name} tells, needed the file as it was "
            "saved. Fetch it again; if this program has made it, run again with --first fit."
        )


def _open(path):
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def fill(network, state, source, unread=(), fresh=()):
    """Load weights into a network; raise InputError with those that do not fit.

    Parameters
    ----------
    network : torch.nn.Module
    state : dict of str to torch.Tensor
    source : path-like
        Where they come from, for the message.
    unread : tuple of str
        How names begin that the file may hold beyond what the network has.
    fresh : tuple of str
        Prefixes of the names that keep the network's own weights.

    Raises
    ------
    InputError
        If names or shapes differ otherwise.
    """
    current = {name: value for name, value in network.state_dict().items()}
    wanted = {name for name in current if not name.startswith(tuple(fresh))}
    faults = [
        f"{name} {_shape(state.get(name))} instead of {_shape(current[name])}"
        for name in sorted(wanted)
        if not name.endswith(COUNTER) and _shape(state.get(name)) != _shape(current[name])
    ]
    faults += [
        f"{name}, which the network lacks"
        for name in sorted(set(state) - set(current))
        if not name.startswith(tuple(unread))
    ]
    if faults:
        shown = "; ".join(faults[:4]) + ("; ..." if len(faults) > 4 else "")
        raise InputError(
            f"Found {len(faults)} weights in {source} that do not fit ({shown}); needed those of "
            f"this very network. Choose the file, the channels, the outputs or the options that "
            "belong to the other."
        )
    network.load_state_dict({name: state[name] for name in wanted & set(state)}, strict=False)


def _shape(value):
    return "absent" if value is None else tuple(value.shape)
