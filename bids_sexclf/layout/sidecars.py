"""Check the type, range and unit of the sidecar values that are used."""

from math import isfinite
from numbers import Real

from bids_sexclf.errors import InputError

DIRECTIONS = ("i", "i-", "j", "j-", "k", "k-")

LONGEST_S = 0.5
"""Longest echo or readout time of a head scan, s."""


def _is_direction(value):
    return None if value in DIRECTIONS else f"one of {', '.join(DIRECTIONS)}"


def _is_axis(value):
    return None if value in DIRECTIONS[::2] else "one of i, j, k"


def _is_time(value):
    if _is_number(value) and 0 < value <= LONGEST_S:
        return None
    needed = f"seconds, above 0 and at most {LONGEST_S}"
    if _is_number(value) and LONGEST_S < value <= 1000 * LONGEST_S:
        return f"{needed}; if it is in ms, write {value / 1000:g}"
    return needed


def _is_share(value):
    return None if _is_number(value) and 0 < value <= 1 else "a number above 0 and at most 1"


def _is_text(value):
    return None if isinstance(value, str) else "text"


def _is_list(value):
    entries = [value] if isinstance(value, str) else value
    sound = isinstance(entries, list) and all(isinstance(entry, str) for entry in entries)
    return None if sound else "text, or a list of texts"


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)


OF_SERIES = {
    "PhaseEncodingDirection": _is_direction,
    "PhaseEncodingAxis": _is_axis,
    "SliceEncodingDirection": _is_direction,
    "TotalReadoutTime": _is_time,
    "EchoTime": _is_time,
    "PartialFourier": _is_share,
    "B0FieldSource": _is_list,
    "B0FieldIdentifier": _is_list,
}
"""Checked fields of the sidecar of a diffusion series."""

OF_FIELDMAPS = {
    "PhaseEncodingDirection": _is_direction,
    "TotalReadoutTime": _is_time,
    "EchoTime": _is_time,
    "EchoTime1": _is_time,
    "EchoTime2": _is_time,
    "Units": _is_text,
    "IntendedFor": _is_list,
    "B0FieldSource": _is_list,
    "B0FieldIdentifier": _is_list,
}
"""Checked fields of the sidecar of a scan that can correct distortion."""


ACQUISITION = (
    "Modality",
    "MagneticFieldStrength",
    "ImagingFrequency",
    "Manufacturer",
    "ManufacturersModelName",
    "SoftwareVersions",
    "ReceiveCoilName",
    "ParallelAcquisitionTechnique",
    "ParallelReductionFactorInPlane",
    "ParallelReductionFactorOutOfPlane",
    "MultibandAccelerationFactor",
    "PartialFourier",
    "PartialFourierDirection",
    "NonlinearGradientCorrection",
    "MRAcquisitionType",
    "PulseSequenceType",
    "ScanningSequence",
    "SequenceVariant",
    "ScanOptions",
    "SequenceName",
    "SliceThickness",
    "SpacingBetweenSlices",
    "EchoTime",
    "RepetitionTime",
    "InversionTime",
    "FlipAngle",
    "DwellTime",
    "PixelBandwidth",
    "PhaseEncodingDirection",
    "PhaseEncodingAxis",
    "EffectiveEchoSpacing",
    "TotalReadoutTime",
    "DiffusionScheme",
)
"""Fields of the acquisition, without personal data; derivatives keep them."""


def shared_fields(sidecars):
    """Return the acquisition parameters that all scans share.

    Parameters
    ----------
    sidecars : list of dict

    Returns
    -------
    dict
        The fields of `ACQUISITION` that are equal in all scans; numbers within 0.1 %.

    Examples
    --------
    >>> shared_fields([{"EchoTime": 0.09, "FlipAngle": 90}, {"EchoTime": 0.090001}])
    {'EchoTime': 0.09}
    """
    return (
        {
            field: sidecars[0][field]
            for field in ACQUISITION
            if all(_alike(about.get(field), sidecars[0].get(field)) for about in sidecars)
        }
        if sidecars
        else {}
    )


def _alike(value, second):
    """Return whether two values of a field exist and are equal."""
    if _is_number(value) and _is_number(second):
        return abs(value - second) <= 1e-3 * abs(second)
    return value is not None and value == second


def check_sidecar(name, metadata, checks):
    """Refuse a sidecar whose values cannot be used.

    Parameters
    ----------
    name : str
        Of the scan.
    metadata : dict
        A value of None is as good as none.
    checks : dict of str to callable
        `OF_SERIES` or `OF_FIELDMAPS`.

    Raises
    ------
    InputError
        The message lists every fault.

    Examples
    --------
    >>> check_sidecar("a_dwi.nii.gz", {"TotalReadoutTime": 50}, OF_SERIES)
    Traceback (most recent call last):
    bids_sexclf.errors.InputError: Found the sidecar of a_dwi.nii.gz with TotalReadoutTime 50
    (needed seconds, above 0 and at most 0.5; if it is in ms, write 0.05). Correct the JSON file.
    """
    faults = [
        f"{field} {str(metadata[field])[:60]!r} (needed {needed})"
        if isinstance(metadata[field], str)
        else f"{field} {str(metadata[field])[:60]} (needed {needed})"
        for field, check in checks.items()
        if metadata.get(field) is not None and (needed := check(metadata[field]))
    ]
    if faults:
        raise InputError(
            f"Found the sidecar of {name} with {' and '.join(faults)}. Correct the JSON file."
        )
