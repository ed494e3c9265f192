"""Choose the diffusion series of a session that are pooled: one grid, one echo time, one fit.

Series of different phase encodings are pooled too, since their distortion is corrected first.
Series with unknown phase encoding are pooled only where they are runs of one name, or where a
filter lists several labels.
"""

import filecmp
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_sexclf.errors import InputError
from bids_sexclf.layout.dataset import bad_sidecars_of
from bids_sexclf.layout.entities import ENTITIES, parse_name
from bids_sexclf.layout.listing import find_gradients
from bids_sexclf.layout.sidecars import OF_SERIES, check_sidecar

ECHO_TOLERANCE_S = 5e-4
"""Echo times that differ by less are equal, s; white matter then differs by less than 1 %."""

READOUT_TOLERANCE = 0.01
"""Total readout times with a smaller relative difference are equal."""

B0_THRESHOLD = 50.0
"""Largest b-value of a b0 volume by default, s/mm²."""


@dataclass(frozen=True, eq=False)
class Series:
    """The properties that decide whether diffusion series are pooled.

    Attributes
    ----------
    path : str
    entities : dict of str to str
        Of the name, without participant and session.
    grid : tuple or None
        Shape (X, Y, Z, N) and affine; None where the image cannot be read.
    echo_time : float or None
        s.
    encoding : tuple
        Phase-encoding direction and total readout time (s); None where the sidecar is silent.
    bvals : ndarray, shape (N,)
        s/mm²; empty where they cannot be read.
    bvecs : ndarray, shape (N, 3)
    fault : str or None
        Why the series cannot be used; it follows the name.
    """

    path: str
    entities: dict
    grid: tuple | None
    echo_time: float | None
    encoding: tuple
    bvals: np.ndarray
    bvecs: np.ndarray
    fault: str | None = None

    @property
    def name(self):
        """File name."""
        return Path(self.path).name

    @property
    def plainness(self):
        """Sorting key: simple names and low runs come first."""
        run = int("0" + re.sub(r"\D", "", self.entities.get("run", "")))
        return len(self.entities) - ("run" in self.entities), *_without(self.entities), run


def choose_series(dataset, scans, together=(), only_first=False, b0_threshold=B0_THRESHOLD):
    """Choose the diffusion series that are pooled into one.

    Of several pools, the one with the most directions times shells is chosen, then the one with
    the most volumes, then the one with the simplest name.

    Parameters
    ----------
    dataset : bids.BIDSLayout
    scans : iterable of path-like
        Of one participant-session, none of them twice.
    together : iterable of str
        Entities whose labels may differ although the sidecars do not tell the phase encoding.
    only_first : bool
        Take the first run only of each series.
    b0_threshold : float
        Largest b-value of a b0 volume, s/mm².

    Returns
    -------
    list of str
        Sorted by phase encoding; the encoding with the most directions times shells comes first.
        Empty if there is no scan.
    str or None
        A note on pooled series, and on left-out ones with the reason and how to use them.
    """
    all_series = [_read_series(dataset, path, b0_threshold) for path in scans]
    all_series.sort(key=lambda one: one.plainness)
    if not all_series:
        return [], None
    series = [one for one in all_series if one.fault is None] or all_series
    omitted = [(one, one.fault) for one in all_series if one not in series]
    series = _without_copies(series, omitted)
    series = _one_reconstruction(series, together, omitted)
    if only_first:
        series = _first_runs(series, omitted)
    pools = []
    for one in series:
        home = next((pool for pool in pools if not _why_apart(pool[0], one, together)), None)
        pools.append([one]) if home is None else home.append(one)
    parted = [_split(pool, b0_threshold, omitted) for pool in pools]
    best = max(range(len(pools)), key=lambda index: (_rank(sum(parted[index], []), b0_threshold),
                                                     -index))  # fmt: skip
    parts = sorted(parted[best], key=lambda part: _rank(part, b0_threshold), reverse=True)
    chosen = sum(parts, [])
    for pool in (pool for index, pool in enumerate(parted) if index != best):
        omitted += [(one, _why_apart(chosen[0], one, together)) for part in pool for one in part]
    return [one.path for one in chosen], _tell(parts, omitted)


def group_by_encoding(encodings):
    """Group series by their phase encoding.

    Parameters
    ----------
    encodings : list of tuple
        Direction and total readout time (s) of each series, None where unknown.

    Returns
    -------
    list of list of int
        Positions, in the order in which the encodings first appear.

    Examples
    --------
    >>> group_by_encoding([("j", 0.05), ("j-", 0.05), ("j", 0.05001)])
    [[0, 2], [1]]
    """
    groups = []
    for index, (direction, readout) in enumerate(encodings):
        for group in groups:
            first_direction, first_readout = encodings[group[0]]
            if direction == first_direction and _close(
                readout, first_readout, READOUT_TOLERANCE * (readout or 0)
            ):
                group.append(index)
                break
        else:
            groups.append([index])
    return groups


def _close(first, second, tolerance):
    """Return whether two numbers are equal within a tolerance; two unknown ones are equal."""
    if first is None or second is None:
        return first is second
    return abs(first - second) <= tolerance


# -- reading ---------------------------------------------------------------------------------------


def _read_series(dataset, path, b0_threshold):
    """Read the header, the gradients and the sidecar of a series, without raising."""
    entities, _, _ = parse_name(path)
    entities = {key: value for key, value in entities.items() if key not in ("sub", "ses")}
    about = dataset.get_metadata(str(path))
    echo_time, direction, readout = (
        about.get(name) for name in ("EchoTime", "PhaseEncodingDirection", "TotalReadoutTime")
    )
    grid, (bvals, bvecs, fault) = _read_grid(path), _read_gradients(dataset, path)
    if grid is None:
        fault = "cannot be read"
    elif fault is None and (len(grid[0]) != 4 or not len(bvals) == len(bvecs) == grid[0][3]):
        fault = f"has {len(bvals)} b-values and {len(bvecs)} b-vectors for an image of {grid[0]}"
    elif fault is None and (bvals > b0_threshold).any() and not (abs(bvecs) > 0.1).any():
        fault = "holds weighted volumes without a direction only"
    return Series(
        path=str(path),
        entities=entities,
        grid=grid,
        echo_time=_number(echo_time),
        encoding=(direction if isinstance(direction, str) else None, _number(readout)),
        bvals=bvals,
        bvecs=bvecs,
        fault=_sidecar_fault(dataset, path, about) or fault,
    )


def _sidecar_fault(dataset, path, about):
    """Return the reason why the sidecar of a series cannot be used, or None."""
    bad = bad_sidecars_of(dataset, path)
    if bad:
        return f"its sidecar {next(iter(bad))} cannot be read"
    try:
        check_sidecar(Path(path).name, about, OF_SERIES)
    except InputError:
        return "its sidecar holds values that cannot be used"
    return None


def _number(value):
    """Return a number of a sidecar, or None; wrong values are reported where they are used."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _read_grid(path):
    """Return shape and affine, or None where the header cannot be read."""
    import nibabel as nib

    try:
        image = nib.load(path)
    except Exception:  # nibabel raises many kinds on a damaged header
        return None
    return image.shape, image.affine


def _read_gradients(dataset, path):
    """Return b-values, b-vectors, and the reason if they cannot be read."""
    none = np.empty(0), np.empty((0, 3))
    files = [find_gradients(dataset, path, end) for end in ("bval", "bvec")]
    missing = [end for end, file in zip(("bval", "bvec"), files, strict=True) if not file]
    if missing:
        return *none, f"has no {' and no '.join(missing)} file"
    try:
        bvals, bvecs = map(_read_rows, files)
        bvals, bvecs = np.concatenate(bvals), np.array(bvecs)
    except (OSError, ValueError):
        return *none, "has b-values or b-vectors that cannot be read"
    if bvecs.ndim != 2 or 3 not in bvecs.shape:
        return bvals, none[1], "has b-vectors that are no table of x, y, z"
    by_line = len(bvecs) == 3 and (bvecs.shape[1] != 3 or len(bvals) == 3)
    return bvals, np.nan_to_num(bvecs.T if by_line else bvecs), None


def _read_rows(path):
    """Read the numbers of each line of a text file."""
    text = Path(path).read_bytes().decode("utf-8-sig").replace(",", " ").replace(";", " ")
    return [[float(word) for word in line.split()] for line in text.splitlines() if line.strip()]


# -- choosing --------------------------------------------------------------------------------------


def _without(entities, *names):
    """Return the entities of a name, without the run and `names`."""
    return tuple(pair for pair in entities.items() if pair[0] not in ("run", *names))


def _without_copies(series, omitted):
    """Leave out files that hold the same bytes as an earlier one."""
    distinct = []
    for one in series:
        first = next((earlier for earlier in distinct if _are_copies(one.path, earlier.path)), None)
        if first is None:
            distinct.append(one)
        else:
            omitted.append((one, f"a copy of {first.name}"))
    return distinct


def _are_copies(path, second_path):
    """Return whether two files hold the same bytes and are not empty."""
    size = os.path.getsize(path) if os.path.exists(path) else 0
    equal_size = size > 0 and os.path.exists(second_path) and os.path.getsize(second_path) == size
    return equal_size and filecmp.cmp(path, second_path, shallow=False)


def _one_reconstruction(series, together, omitted):
    """Keep one reconstruction of each scan: the one with the simplest name."""
    first_by_scan = {}
    for one in series:
        key = tuple(pair for pair in one.entities.items() if pair[0] != "rec" or "rec" in together)
        first = first_by_scan.setdefault(key, one)
        if first is not one:
            omitted.append((one, f"another reconstruction of {first.name}"))
    return list(first_by_scan.values())


def _first_runs(series, omitted):
    """Keep the first run of each series."""
    first_by_name = {}
    for one in series:
        first = first_by_name.setdefault(_without(one.entities), one)
        if first is not one:
            omitted.append((one, f"a further run of {first.name}"))
    return list(first_by_name.values())


def _why_apart(first, second, together):
    """Return the reason why two series are not pooled, or None."""
    from bids_sexclf.volumes import same_grid

    if first.grid and second.grid and not same_grid(first.grid, second.grid):
        return "another grid"
    if not _close(first.echo_time, second.echo_time, ECHO_TOLERANCE_S):
        return f"echo time {_say(second.echo_time)}, not {_say(first.echo_time)}"
    named_alike = _without(first.entities, *together) == _without(second.entities, *together)
    if not named_alike and None in (first.encoding[0], second.encoding[0]):
        return "no PhaseEncodingDirection in the sidecars"
    return None


def _say(echo_time):
    return "unknown" if echo_time is None else f"{echo_time:g} s"


def _split(pool, b0_threshold, omitted):
    """Split a pool by phase encoding, without the parts that cannot be pooled."""
    groups = group_by_encoding([one.encoding for one in pool])
    parts = [[pool[index] for index in group] for group in groups]
    if len(parts) == 1:
        return parts
    poolable = []
    for part in parts:
        bvals = np.concatenate([one.bvals for one in part])
        if bvals.size and bvals.max() <= b0_threshold:
            omitted += [(one, "b=0 volumes only, which can serve to correct distortion")
                     for one in part]  # fmt: skip
        elif bvals.size and bvals.min() > b0_threshold:
            omitted += [(one, "no b=0 volume of its phase encoding, by which series are aligned")
                     for one in part]  # fmt: skip
        else:
            poolable.append(part)
    return poolable or parts


def _rank(series, b0_threshold):
    """Return the rank of a pool: directions times shells, and volumes."""
    bvals = np.concatenate([one.bvals for one in series])
    bvecs = np.concatenate([one.bvecs[: len(one.bvals)] for one in series])
    if len(bvals) != len(bvecs):
        return 0, len(bvals)
    measured = (bvals > b0_threshold) & (np.abs(bvecs) > 0.1).any(axis=1)
    shells, axes = np.round(bvals[measured], -2), bvecs[measured]
    # A direction and its antipode measure the same.
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    axes = np.round(axes * np.sign(largest), 2)
    return len(np.unique(np.column_stack([shells, axes]), axis=0)) * len(set(shells)), len(bvals)


# -- telling ---------------------------------------------------------------------------------------


def _tell(parts, omitted):
    """Describe the pooled series, and the left-out ones with the reason and how to use them."""
    notes, chosen = [], sum(parts, [])
    if len(chosen) > 1:
        pooled_names = " with ".join(_list(part, len(parts) > 1) for part in parts)
        notes.append(f"pooled {pooled_names}")
    reasons = {}
    for one, reason in omitted:
        reasons.setdefault(reason, []).append(one)
    for reason, series in reasons.items():
        names = ", ".join(one.name for one in series)
        target_words = "it" if len(series) == 1 else "the first of them"
        way = _way(series[0], chosen)
        taking = f"; to take {target_words}: --bids-filter-file with {way}" if way else ""
        notes.append(f"without {names} ({reason}{taking})")
    return "; ".join(notes) or None


def _list(part, encoded):
    """List the series of one phase encoding."""
    names = ", ".join(one.name for one in part)
    return f"{names} ({part[0].encoding[0]})" if encoded else names


def _way(one, chosen):
    """Return the filter that selects a left-out series; None where no label identifies it."""
    long = {short: name for name, short in ENTITIES.items()}
    for entity in dict.fromkeys([*one.entities, *chosen[0].entities]):
        value = one.entities.get(entity)
        if all(chosen_series.entities.get(entity) != value for chosen_series in chosen):
            value = int(value) if entity == "run" and (value or "").isdigit() else value
            return json.dumps({"dwi": {long.get(entity, entity): value}})
    return None
