"""The bundle: what it holds, what it computes, and how it is written and read."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bids_sexclf import models
from bids_sexclf.bundle import scaling
from bids_sexclf.bundle.adjustment import Adjustment
from bids_sexclf.disk import remove_folder
from bids_sexclf.errors import GridError, InputError
from bids_sexclf.training import cards
from bids_sexclf.volumes import Channels, Grid, Rows

FOLDER = "bundle"
"""Folder of the bundle within that of a job."""
CARD, GRID, FORMAT = "bundle.json", "grid.safetensors", 1
MASK, MEAN = "mask", "mean_"


@dataclass(frozen=True)
class Bundle:
    """A fitted model with all that it needs to answer for a new participant.

    Attributes
    ----------
    entry : str
        Name of the model in the catalogue.
    classifier : object
        Fitted.
    adjustment : adjustment.Adjustment
        How confounds are taken out, as learnt in the training part.
    scaling : dict of str to str
        Map to the kind of its scaling (`scaling.KINDS`).
    grid : volumes.Grid or None
        On which the model reads maps; None where it reads a table.
    maps : tuple of str
        In the order in which the model reads them; empty where it reads a table.
    template : dict
        ``space`` and ``resolution`` of the maps.
    preparation : dict
        Map to ``entry``, ``preparation``, ``versions`` and ``taken_over``: the notes of the
        participant level that are the same for all participants.
    participants : dict of str to list of str
        ``train``, ``validation`` and ``test``.
    versions : dict of str to str
        Of the software that fitted the model.
    arrays : dict of str to ndarray, shape grid.shape
        ``mask``, the brain, and for each map ``mean_MAP``, which fills what was not measured.
    columns : tuple of str
        Columns of cohort.tsv or features, if the model reads no map.
    """

    entry: str
    classifier: object
    adjustment: Adjustment = field(default_factory=Adjustment)
    scaling: dict = field(default_factory=dict)
    grid: Grid | None = None
    maps: tuple = ()
    template: dict = field(default_factory=dict)
    preparation: dict = field(default_factory=dict)
    participants: dict = field(default_factory=dict)
    versions: dict = field(default_factory=dict)
    arrays: dict = field(default_factory=dict)
    columns: tuple = ()

    def prepare(self, images):
        """Carry the maps of one participant to the grid of the model, scaled and without gaps.

        Parameters
        ----------
        images : dict of str to tuple
            Map to (values, affine, covered): the map as the participant level wrote it, shape
            (X, Y, Z); voxel to world, shape (4, 4), mm; and where it was measured, bool of shape
            (X, Y, Z), or None for everywhere.

        Returns
        -------
        ndarray of float32, shape (X, Y, Z), or (maps, X, Y, Z) where the model reads several

        Raises
        ------
        InputError
            If a map is missing, or is constant or not finite.
        """
        missing = [name for name in self.maps if name not in images]
        if missing or not self.maps:
            raise InputError(
                f"Found maps {', '.join(images) or 'none'}, needed {', '.join(self.maps) or 'none'}"
                f": {self.entry!r} reads {'these' if self.maps else 'a table'}. Give what it reads."
            )
        volumes = [self._carry(name, *images[name]) for name in self.maps]
        return volumes[0] if len(volumes) == 1 else np.stack(volumes)

    def _carry(self, name, values, affine, covered=None):
        """Carry one map to the grid, as float32."""
        try:
            _, volume, gap = scaling.carry(
                values, affine, covered, self.grid, self.arrays[MASK] > 0, self.scaling[name]
            )
        except InputError as fault:
            raise InputError(
                f"Found map {name}, which is {fault}; needed values that vary. Prepare the "
                "participant again."
            ) from fault
        volume = volume.astype(np.float32)
        return np.where(gap, self.arrays[f"{MEAN}{name}"], volume)

    def evidence(self, inputs, people=None):
        """Compute the evidence of participants.

        Parameters
        ----------
        inputs : ndarray, volumes.Rows, volumes.Channels or features.Features
            Volumes as `prepare` returns them, stacked: (n, X, Y, Z) or (n, maps, X, Y, Z); or the
            columns that the model reads, (n, k).
        people : pandas.DataFrame, optional
            One row each, with the columns of cohort.tsv that the adjustment needs.

        Returns
        -------
        ndarray of float64, shape (n,)
            Logits, or the predicted quantity.

        Raises
        ------
        InputError
            If the adjustment needs columns that are absent.
        GridError
            If the volumes lie on another grid.
        """
        if self.maps and isinstance(inputs, np.ndarray):
            inputs = self._as_rows(inputs)
        return self.classifier.evidence(self.adjust(inputs, people))

    def _as_rows(self, volumes):
        """View volumes as the rows of a cohort."""
        shape = (*([len(self.maps)] if len(self.maps) > 1 else []), *self.grid.shape)
        if volumes.shape[1:] != shape:
            raise GridError(
                f"Found volumes of shape {volumes.shape[1:]}, needed {shape}, the grid of the "
                "model. Prepare them by Bundle.prepare."
            )
        everyone = np.arange(len(volumes))
        if len(self.maps) == 1:
            return Rows(volumes, everyone)
        return Channels([Rows(volumes[:, number], everyone) for number in range(len(self.maps))])

    def adjust(self, inputs, people=None):
        """Take the confounds out of what the model reads.

        Parameters
        ----------
        inputs, people
            As for `evidence`.

        Returns
        -------
        The inputs themselves where nothing is taken out.

        Raises
        ------
        InputError
            If a column is absent.
        """
        needed = self.adjustment.columns
        missing = [name for name in needed if people is None or name not in people]
        if missing:
            raise InputError(
                f"Found no {', '.join(missing)} of the participants, needed {', '.join(needed)}: "
                "the model was fitted on maps without these confounds. Give a table with these "
                "columns."
            )
        return self.adjustment(inputs, people) if needed else inputs

    def write(self, folder):
        """Write the bundle into a folder of its own; what lay there is removed first.

        Parameters
        ----------
        folder : path-like
        """
        from safetensors.numpy import save_file

        folder = Path(folder)
        remove_folder(folder, folder.parent)
        folder.mkdir(parents=True)
        self.classifier.save(folder)
        self.adjustment.save(folder)
        if self.arrays:
            arrays = {name: np.ascontiguousarray(array) for name, array in self.arrays.items()}
            save_file(arrays, folder / GRID)
        names = sorted(path.name for path in folder.iterdir())
        cards.write_card(folder, self.entry, self._describe(), names, CARD)

    def _describe(self):
        """Return what the card holds."""
        grid = self.grid
        place = (
            None if grid is None else {"shape": list(grid.shape), "affine": grid.affine.tolist()}
        )
        return {
            "format": FORMAT,
            "grid": place,
            "maps": list(self.maps),
            "columns": list(self.columns),
            "scaling": self.scaling,
            "template": self.template,
            "preparation": self.preparation,
            "participants": self.participants,
            "versions": self.versions,
        }

    @classmethod
    def read(cls, folder):
        """Read a bundle. Every file must have the content that was written.

        Parameters
        ----------
        folder : path-like

        Returns
        -------
        Bundle
            Its evidence is the same to the last bit.

        Raises
        ------
        InputError
            If there is no bundle, it is damaged, or of another format.
        """
        folder = Path(folder)
        if not (folder / CARD).exists() and (folder.parent / cards.CARD).exists():
            raise InputError(
                f"Found {folder.parent / cards.CARD} without a {CARD}, needed a bundle: the model "
                "was saved by an earlier version. Run again with --first fit."
            )
        entry = cards.read_design(folder, CARD)
        card = cards.read_card(folder, entry, CARD)
        try:
            if card["format"] != FORMAT:
                raise ValueError(f"it has format {card['format']}, needed {FORMAT}")
            return cls(
                entry,
                models.find_classifier(entry).Classifier.load(folder),
                Adjustment.load(folder),
                card["scaling"],
                _read_place(card["grid"]),
                tuple(card["maps"]),
                card["template"],
                card["preparation"],
                card["participants"],
                card["versions"],
                _read_arrays(folder) if card["maps"] else {},
                tuple(card["columns"]),
            )
        except InputError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise InputError(
                f"Found {folder / CARD}, which describes no bundle that can be read ({fault}); "
                f"needed what the fit stage of this version writes. {cards.AGAIN}"
            ) from fault


def _read_place(about):
    """Return the grid that a card describes; None where it describes none."""
    if about is None:
        return None
    affine = np.array(about["affine"], dtype=np.float64).reshape(4, 4)
    return Grid(tuple(int(length) for length in about["shape"]), affine)


def _read_arrays(folder):
    """Read the arrays on the grid."""
    from safetensors.numpy import load_file

    try:
        return load_file(folder / GRID)
    except Exception as fault:  # safetensors raises a kind of its own on a damaged file
        raise ValueError(fault) from fault
