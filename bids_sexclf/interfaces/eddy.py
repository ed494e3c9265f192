"""FSL's eddy: its text files, the program, and the motion it reports."""

import json
import shutil
from pathlib import Path

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)
from nipype.interfaces.fsl import Eddy

from bids_sexclf.diffusion import find_shells
from bids_sexclf.diffusion.scheme import read_bvals
from bids_sexclf.errors import InputError, ToolError
from bids_sexclf.motion.align import SMALLEST_GROUP

PROGRAMS = ("eddy", "eddy_cpu", "eddy_openmp")
"""Names that FSL's releases give the program; the first on the PATH runs."""

FIELDS = ("PhaseEncodingDirection", "TotalReadoutTime")
"""What eddy must know of a series."""


def find_eddy():
    """Find FSL's eddy on the PATH.

    Returns
    -------
    str

    Raises
    ------
    ToolError
    """
    for program in PROGRAMS:
        if shutil.which(program):
            return program
    raise ToolError(
        f"Found none of {', '.join(PROGRAMS)} on the PATH, needed one of them for "
        "--eddy-engine fsl. Install FSL, or choose --eddy-engine ants."
    )


def missing_fields(metadata):
    """List the sidecar fields that eddy needs and that are missing.

    Parameters
    ----------
    metadata : dict
        The sidecar of the series.

    Returns
    -------
    list of str
    """
    return [name for name in FIELDS if not metadata.get(name)]


def encoding_row(metadata):
    """Convert the phase encoding of a sidecar to a row of FSL's acqparams file.

    Parameters
    ----------
    metadata : dict
        With ``PhaseEncodingDirection`` (``i``, ``j``, ``k``, with ``-`` where reversed) and
        ``TotalReadoutTime`` (s).

    Returns
    -------
    tuple of (int, int, int, float)

    Raises
    ------
    InputError
        If a field is missing or not valid.

    Examples
    --------
    >>> encoding_row({"PhaseEncodingDirection": "j-", "TotalReadoutTime": 0.05})
    (0, -1, 0, 0.05)
    """
    missing = missing_fields(metadata)
    direction, readout = (metadata.get(name) for name in FIELDS)
    if missing or str(direction).rstrip("-") not in ("i", "j", "k") or not float(readout) > 0:
        raise InputError(
            f"Found a diffusion series with PhaseEncodingDirection {direction!r} and "
            f"TotalReadoutTime {readout!r}, needed i, j or k (with - where reversed) and seconds "
            "above 0 for --eddy-engine fsl. Complete its JSON, or choose --eddy-engine ants."
        )
    row = [0, 0, 0]
    row["ijk".index(direction[0])] = -1 if direction.endswith("-") else 1
    return (*row, float(readout))


class _FilesIn(BaseInterfaceInputSpec):
    bval = File(exists=True, mandatory=True)
    row = traits.Tuple(mandatory=True, desc="of the acqparams file; see `encoding_row`")


class _FilesOut(TraitedSpec):
    acqp = File(exists=True)
    index = File(exists=True)


class EddyFiles(SimpleInterface):
    """Write eddy's acqparams and index files: one encoding for all volumes."""

    input_spec, output_spec = _FilesIn, _FilesOut

    def _run_interface(self, runtime):
        count = read_bvals(self.inputs.bval).size
        texts = {
            "acqp": " ".join(f"{value:g}" for value in self.inputs.row),
            "index": " ".join(["1"] * count),
        }
        for name, text in texts.items():
            self._results[name] = str(Path(runtime.cwd, f"{name}.txt"))
            Path(self._results[name]).write_text(text + "\n")
        return runtime


class FoundEddy(Eddy):
    """Run FSL's eddy; the name of its program depends on the version of FSL."""

    def _run_interface(self, runtime):
        bvals = read_bvals(self.inputs.in_bval)
        # Skip eddy's check of shells, which refuses b-values that scatter.
        shells = [len(members) for _, members in find_shells(bvals)]
        self.inputs.is_shelled = bool(shells) and min(shells) >= SMALLEST_GROUP
        self._cmd = find_eddy()
        return super(Eddy, self)._run_interface(runtime)


class _MotionIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="eddy_restricted_movement_rms")


class _MotionOut(TraitedSpec):
    out_file = File(exists=True, desc="JSON: displacement of each volume against the one before")


class ReadEddyMotion(SimpleInterface):
    """Read the motion between volumes, without shifts along the phase-encoding axis."""

    input_spec, output_spec = _MotionIn, _MotionOut

    def _run_interface(self, runtime):
        moved = np.loadtxt(self.inputs.in_file, ndmin=2)[:, 1]
        self._results["out_file"] = str(Path(runtime.cwd, "motion.json"))
        Path(self._results["out_file"]).write_text(
            json.dumps({"displacement_mm": [0.0, *moved[1:].tolist()]})
        )
        return runtime
