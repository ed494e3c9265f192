"""Susceptibility distortion: choose the method that the scans allow, and compute with fields.

Sign convention: a field of ``f`` Hz moves the signal of voxel ``v`` to ``v + f * readout`` along
the phase-encoding axis, where ``readout`` is the total readout time in s, negative if
``PhaseEncodingDirection`` ends in ``-``. This product is called the shift (voxels). Unwarping
reads the distorted volume at ``v + shift`` and multiplies by ``1 + d shift / d v``. The shift
counts along the axis of the array, so a flipped affine changes nothing here; it matters where
voxels become millimetres (`displacement_field`).
"""

from dataclasses import dataclass

import numpy as np

from bids_sexclf.errors import InputError

METHODS = ("topup", "opposite", "fieldmap", "t1w", "none")
"""Methods in the order of preference of ``auto``, which never uses ``t1w``, since its estimate can
be worse than no correction."""

LPS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Correction:
    """How the distortion of one series will be corrected.

    Attributes
    ----------
    method : str
        One of `METHODS`.
    why : str
        The reason, for the report.
    axis : int or None
        Phase-encoding axis of the array.
    readout : float or None
        Signed total readout time, s; None where the method does not need it.
    inputs : dict
        Input files of the method: its entry in `layout.find_fieldmaps`.
    """

    method: str
    why: str
    axis: int | None = None
    readout: float | None = None
    inputs: dict | None = None


def read_encoding(direction):
    """Split a BIDS phase-encoding direction into axis and sign.

    Parameters
    ----------
    direction : str
        ``i``, ``j``, ``k``, with ``-`` for the other way.

    Returns
    -------
    axis : int
    sign : int
        1 or -1.

    Examples
    --------
    >>> read_encoding("j-")
    (1, -1)
    """
    return "ijk".index(direction[0]), -1 if direction.endswith("-") else 1


def choose(requested, fieldmaps, *, t1w, topup):
    """Choose the method of distortion correction for one series.

    Parameters
    ----------
    requested : str
        ``auto`` or one of `METHODS`.
    fieldmaps : dict
        As `layout.find_fieldmaps` returns it.
    t1w : bool
        There is a T1w.
    topup : bool
        FSL's topup is installed.

    Returns
    -------
    Correction

    Raises
    ------
    InputError
        If the input of a method that was chosen by name is absent.
    """
    if requested == "none":
        return Correction("none", "not asked for")
    lacks = _lacks(fieldmaps, t1w=t1w, topup=topup)
    if requested != "auto" and lacks[requested]:
        raise InputError(
            f"Found {fieldmaps['name']} with {' and '.join(lacks[requested])}, needed for "
            f"--distortion {requested}. Add it, or choose another method (or auto)."
        )
    methods = (
        [name for name in METHODS[:-1] if name != "t1w"] if requested == "auto" else [requested]
    )
    method = next((name for name in methods if not lacks[name]), "none")
    missed = "; ".join(
        f"{name}: {' and '.join(lacks[name]) or 'only where asked for'}" for name in METHODS[:-1]
    )
    if method == "none":
        return Correction("none", f"nothing allows one ({missed})")
    axis, sign = read_encoding(fieldmaps["direction"] or fieldmaps["axis"])
    time = fieldmaps["readout"] or (fieldmaps["inputs"]["opposite"] or {}).get("readout")
    # Opposite scans of equal readout time need no time, since shifts are in voxels; FSL needs one.
    if time is None and method in ("topup", "opposite"):
        time = 0.05
    return Correction(
        method=method,
        why=_reason(method, fieldmaps),
        axis=axis,
        readout=sign * time if time else None,
        inputs=fieldmaps["inputs"].get("opposite" if method == "topup" else method),
    )


def _lacks(fieldmaps, *, t1w, topup):
    """List what each method lacks."""
    direction, inputs = fieldmaps["direction"], fieldmaps["inputs"]
    signed = [] if direction else ["no PhaseEncodingDirection"]
    axis = [] if direction or fieldmaps["axis"] else ["no PhaseEncodingDirection"]
    pair = signed + ([] if inputs["opposite"] else ["no oppositely encoded b0 volume"])
    gre = signed + ([] if fieldmaps["readout"] else ["no TotalReadoutTime"])
    return {
        "topup": pair + ([] if topup else ["no FSL topup on the PATH"]),
        "opposite": pair,
        "fieldmap": gre + ([] if inputs["fieldmap"] else ["no field map"]),
        "t1w": axis + ([] if t1w else ["no T1w"]),
    }


def _reason(method, fieldmaps):
    """Describe the scans that a method uses."""
    inputs, words = fieldmaps["inputs"], []
    if method in ("topup", "opposite"):
        words.append(f"oppositely encoded {inputs['opposite']['name']}")
        if not fieldmaps["readout"]:
            words.append("TotalReadoutTime unknown, taken to be that of the opposite scan")
    elif method == "fieldmap":
        words.append(f"field map {inputs['fieldmap']['name']}")
    else:
        words.append("the T1w")
        if not fieldmaps["direction"]:
            words.append(f"phase-encoding axis {fieldmaps['axis']} known without its sign")
    return "; ".join(words)


# -- phase to shift -----------------------------------------------------------------------------


def to_radians(phase):
    """Scale a phase image to radians in [-π, π].

    Parameters
    ----------
    phase : ndarray
        Radians, or a scanner's integers: 0 to 4095, or -4096 to 4094.

    Returns
    -------
    ndarray
    """
    phase = np.nan_to_num(np.asarray(phase, dtype=float))
    reach = np.abs(phase).max()
    if reach > 2 * np.pi + 0.1:
        turn = 2.0 ** np.ceil(np.log2(np.ptp(phase)))
        phase = phase * (2 * np.pi / turn) - (np.pi if phase.min() >= 0 else 0)
    return np.angle(np.exp(1j * phase))


def phase_to_hertz(phase, mask, delay):
    """Unwrap the phase difference of two echoes and scale it to Hz.

    Parameters
    ----------
    phase : ndarray, shape (X, Y, Z)
        Radians, second echo minus first.
    mask : ndarray of bool, shape (X, Y, Z)
    delay : float
        Between the echoes, s.

    Returns
    -------
    ndarray, shape (X, Y, Z)
        Hz; 0 outside the mask. Multiples of a full turn that all voxels share are removed, so that
        the median lies within half a turn of 0.

    References
    ----------
    Herráez et al. 2002, doi:10.1364/AO.41.007437 (scikit-image).
    """
    from skimage.restoration import unwrap_phase

    # A fixed seed: the algorithm visits equally reliable voxels in random order.
    flat = unwrap_phase(np.ma.array(phase, mask=~mask), rng=0).filled(0)
    flat = flat - 2 * np.pi * np.round(np.median(flat[mask]) / (2 * np.pi))
    return np.where(mask, flat / (2 * np.pi * delay), 0)


def smooth_field(hertz, mask, voxel_size, width=3.0):
    """Smooth a field inside its mask and continue it outside.

    Parameters
    ----------
    hertz : ndarray, shape (X, Y, Z)
    mask : ndarray of bool, shape (X, Y, Z)
    voxel_size : array-like, shape (3,)
        mm.
    width : float
        Full width at half maximum, mm.

    Returns
    -------
    ndarray, shape (X, Y, Z)
        Outside the mask, means over ever wider neighbourhoods; a field that stopped at the mask
        would tear the edge of the brain.
    """
    from scipy import ndimage

    voxel_size = np.asarray(voxel_size, dtype=float)
    smooth, filled = np.zeros(hertz.shape), np.zeros(hertz.shape, bool)
    # Single voxels with a wrong unwrapping must not spread.
    apart = np.where(mask, hertz - ndimage.median_filter(hertz, 3), 0)
    core = ndimage.binary_erosion(mask)
    spread = 1.4826 * np.median(np.abs(apart[core])) if core.any() else 0
    steady = np.where(core & (np.abs(apart) > 6 * spread), hertz - apart, np.where(mask, hertz, 0))
    for scale in width * 2.0 ** np.arange(7):
        sigma = scale / 2.3548 / voxel_size
        share = ndimage.gaussian_filter(mask.astype(float), sigma)
        # Inside, only the first width is used; outside, the first width that reaches the mask.
        fill = ~filled & ((share > 0.05) if filled.any() else mask)
        smooth[fill] = ndimage.gaussian_filter(steady, sigma)[fill] / share[fill]
        filled |= fill
    smooth[~filled] = np.median(hertz[mask]) if mask.any() else 0
    return smooth


# -- shift to warp ------------------------------------------------------------------------------


def jacobian(shift, axis):
    """Return the factor by which unwarping multiplies the signal.

    Parameters
    ----------
    shift : ndarray, shape (X, Y, Z)
        Voxels along the axis.
    axis : int

    Returns
    -------
    ndarray, shape (X, Y, Z)
        At least 0; above 1 where the distortion had spread the signal.
    """
    return (1 + np.gradient(shift, axis=axis)).clip(0)


def unwarp(array, shift, axis):
    """Unwarp a volume and restore its intensity.

    Parameters
    ----------
    array, shift : ndarray, shape (X, Y, Z)
    axis : int

    Returns
    -------
    ndarray, shape (X, Y, Z)

    Examples
    --------
    A shift of 2 moves a point from 4 to 6; unwarping moves it back:

    >>> line = np.zeros((1, 9, 1)); line[0, 6, 0] = 1
    >>> int(unwarp(line, np.full((1, 9, 1), 2.0), 1).argmax())
    4
    """
    from scipy import ndimage

    places = np.indices(array.shape, dtype=float)
    places[axis] += shift
    moved = ndimage.map_coordinates(np.asarray(array, float), places, order=1, mode="nearest")
    return moved * jacobian(shift, axis)


def displacement_field(shift, affine, axis):
    """Convert a shift to the displacement field that ANTs applies to unwarp.

    Parameters
    ----------
    shift : ndarray, shape (X, Y, Z)
        Voxels along the axis.
    affine : ndarray, shape (4, 4)
        Voxel to RAS+ world, mm.
    axis : int

    Returns
    -------
    ndarray, shape (X, Y, Z, 3)
        mm in LPS+ world space, from each point of the unwarped volume to its distorted position.
    """
    return shift[..., None] * (LPS * affine[:3, axis])


def flatten(volume, mask, voxel_size, width=30.0):
    """Divide a volume by its own smooth trend inside a mask.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
    mask : ndarray of bool, shape (X, Y, Z)
    voxel_size : array-like, shape (3,)
        mm.
    width : float
        Of the trend, full width at half maximum, mm.

    Returns
    -------
    ndarray, shape (X, Y, Z)
        About 1 inside, 0 outside.
    """
    from scipy import ndimage

    sigma = width / 2.3548 / np.asarray(voxel_size)
    trend = ndimage.gaussian_filter(np.where(mask, volume, 0), sigma)
    share = ndimage.gaussian_filter(mask.astype(float), sigma)
    return np.where(mask, volume * share / np.maximum(trend, 1e-6 * max(trend.max(), 1e-6)), 0)


def shared_information(first, second, mask, bins=32):
    """Compute the normalized mutual information of two volumes.

    Parameters
    ----------
    first, second : ndarray, shape (X, Y, Z)
    mask : ndarray of bool, shape (X, Y, Z)
    bins : int
        Number of equally filled bins per volume.

    Returns
    -------
    float
        Mutual information over the mean entropy, in [0, 1].
    """
    from sklearn.metrics import normalized_mutual_info_score

    ranks = []
    for volume in (first, second):
        values = volume[mask]
        cuts = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
        ranks.append(np.searchsorted(cuts, values))
    return float(normalized_mutual_info_score(*ranks)) if mask.any() else 0.0
