"""Make brain masks of one T1w with several engines, and estimate a linear transform from each."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_sexclf.anatomy.brain import carried_mask, distance_outside, overlap
from bids_sexclf.anatomy.network import find_brain, find_coarsely
from bids_sexclf.anatomy.opinions import LEAST_OPINIONS, NOTHING, Evidence, gather
from bids_sexclf.anatomy.turns import list_turns, score_start, turn_back, turn_head
from bids_sexclf.errors import REFUSALS
from bids_sexclf.interfaces.ants import (
    antspyx,
    coarse,
    find_affine,
    to_ants,
    to_matrix,
    write_linear,
)
from bids_sexclf.interfaces.fsl import Bet
from bids_sexclf.interfaces.greedy import RECIPES, deform, template_for
from bids_sexclf.volumes import Grid, load, resample, rescale_grid, save

REACH = 14.0
"""Distance outside the template's brain mask up to which the head is registered, mm."""

SECOND = {"deepbet": "template", "bet": "template", "template": "deepbet"}
"""The engine of the second mask, for each engine."""

OPINION_MM = 2.0
"""Voxel size, mm, at which masks are compared."""

TURNS_TRIED = 3
"""Number of other orientations that are tried, the most likely first."""


@dataclass(frozen=True)
class Candidate:
    """A brain mask, and the numbers by which it is judged.

    Attributes
    ----------
    engine : {"deepbet", "template", "bet", "stripped"}
    mask : ndarray of bool, shape (X, Y, Z), or None
        On the scan's grid. None for the template's, which is drawn finely if it is chosen.
    linear : ndarray, shape (4, 4), or None
        Carries points of the template to the scan, mm; None where no transform was found.
    evidence : opinions.Evidence
    """

    engine: str
    mask: np.ndarray | None
    linear: np.ndarray | None
    evidence: Evidence


class Engines:
    """The engines that make brain masks, and the registration of the brain to one template.

    Parameters
    ----------
    head, head_mask, brain : path-like
        Of the template.
    weights : pair of path-like
        Of deepbet's networks.
    recipe : {"head", "sloppy"}
        How the template's mask is carried where it is the one that is kept; opinions are coarse.
    folder : path-like
        For files that ANTs, Greedy and FSL exchange.
    seed, threads : int
    """

    def __init__(self, *, head, head_mask, brain, weights, recipe, folder, seed, threads=1):
        self.head, self.head_mask, self.weights = head, head_mask, weights
        self.recipe, self.folder, self.seed, self.threads = recipe, folder, seed, threads
        self.ants = antspyx(seed)
        self.brain = coarse(self.ants, self.ants.image_read(str(brain)))
        inside = self.ants.image_read(str(head_mask))
        inside = self.ants.resample_image_to_target(inside, self.brain, "linear").numpy() > 0.5
        self.template = (self.brain.numpy(), inside, _affine(self.brain))

    def mask(self, engine, scan, small):
        """Make a brain mask with one engine; all False where the engine finds no brain.

        Parameters
        ----------
        engine : {"deepbet", "template", "bet"}
        scan, small : pair of ndarray
            The T1w with axes RAS+ and its affine, and the same as `thin` returns it.

        Returns
        -------
        mask : ndarray of bool, or None
            On the grid of `scan`; None by the template, which uses `small` only.
        on_small : ndarray of bool
            On the grid of `small`.
        """
        if engine == "template":
            path = self._path("small.nii.gz")
            save(*small, path)
            try:
                return None, self._carry(small[0], path, self._find_head(path), "sloppy")
            except REFUSALS:
                return None, np.zeros(small[0].shape, bool)
        if engine == "deepbet":
            mask = find_brain(scan[0], self.weights, self.threads)
        else:
            path = self._path("scan.nii.gz")
            save(*scan, path)
            mask_file = Bet(in_file=path).run(cwd=str(self.folder)).outputs.mask_file
            mask = load(mask_file, ndim=3)[0] > 0
        return mask, thin(mask, scan[1])[0] > 0.5

    def weigh(self, engine, masks, small):
        """Register the brain within a mask linearly, and compute the numbers that judge the mask.

        Parameters
        ----------
        engine : str
            Who drew the mask.
        masks : pair
            As `mask` returns them.
        small : pair of ndarray
            The T1w as `thin` returns it, and its affine.

        Returns
        -------
        Candidate
        """
        ants, (mask, on_small), (t1w, affine) = self.ants, masks, small
        if not on_small.any():
            return Candidate(engine, mask, None, NOTHING)
        brain = to_ants(t1w * on_small, affine)
        try:
            transform = find_affine(ants, self.brain, _coarser(ants, brain), self._path("brain_"))
        except REFUSALS:
            return Candidate(engine, mask, None, NOTHING)
        volume, carried = (
            ants.apply_transforms(self.brain, image, [transform]).numpy()
            for image in (brain, to_ants(on_small, affine))
        )
        linear = to_matrix(ants.read_transform(transform))
        carried_scan = (volume, carried > 0.5)
        return Candidate(
            engine, mask, linear, gather(on_small, affine, carried_scan, self.template, linear)
        )

    def likely_turns(self, t1w, affine):
        """List other possible orientations of the scan, the most likely first.

        Parameters
        ----------
        t1w : ndarray, shape (X, Y, Z)
        affine : ndarray, shape (4, 4)

        Returns
        -------
        list of ndarray, shape (3, 3)
            At most `TURNS_TRIED`.
        """
        scores, (t1w, affine) = [], thin(t1w, affine)
        for turn in list_turns()[1:]:
            turned, grid, _ = turn_head(t1w, affine, turn)
            mask = find_coarsely(turned, self.weights, self.threads)
            scores.append((score_start(turned, grid, mask, self.template), turn))
        scores.sort(key=lambda pair: -pair[0])
        return [turn for _, turn in scores[:TURNS_TRIED]]

    def draw(self, candidate, t1w, affine):
        """Return the mask of a candidate on the grid of the scan.

        A mask by the template is made only now.

        Parameters
        ----------
        candidate : Candidate
        t1w : ndarray, shape (X, Y, Z)
        affine : ndarray, shape (4, 4)

        Returns
        -------
        ndarray of bool, shape (X, Y, Z)
        """
        if candidate.mask is not None:
            return candidate.mask
        scan, linear = self._path("scan.nii.gz"), self._path("start.mat")
        save(t1w, affine, scan)
        write_linear(candidate.linear, linear)
        return self._carry(t1w, scan, linear, self.recipe)

    def _find_head(self, scan):
        """Register the whole head linearly; return the file."""
        head = self.ants.image_read(template_for("sloppy", self.head, self.folder))
        moving = _coarser(self.ants, self.ants.image_read(scan))
        return find_affine(self.ants, head, moving, self._path("head_"))

    def _carry(self, t1w, scan, linear, recipe):
        """Bring the template's mask to a scan by a deformable registration of the whole head."""
        ants, head = self.ants, template_for(recipe, self.head, self.folder)
        inside, grid = load(self.head_mask, ndim=3)
        outside = distance_outside(inside > 0.5, np.linalg.norm(grid[:3, :3], axis=0))
        distance, near = self._path("distance.nii.gz"), self._path("near.nii.gz")
        save(outside, grid, distance)
        distance = ants.image_read(distance)
        close = ants.resample_image_to_target(distance, ants.image_read(head), "linear")
        close.new_image_like((close.numpy() < REACH).astype(np.float32)).to_filename(near)
        fields = deform(
            head, scan, linear, self._path("head_"), recipe=RECIPES[recipe], mask=near,
            seed=self.seed, threads=self.threads,
        )  # fmt: skip
        carried = ants.apply_transforms(
            ants.image_read(scan),
            distance,
            [linear, fields[1]],
            whichtoinvert=[True, False],
            defaultvalue=REACH,
        )
        for path in fields:
            Path(path).unlink()  # large, and only the mask needed them
        return carried_mask(t1w, carried.numpy(), carried.spacing)

    def _path(self, name):
        return str(Path(self.folder, name))


@dataclass(frozen=True)
class Pair:
    """Two masks of one brain by different engines.

    Attributes
    ----------
    first, second : Candidate
        The second one is weighed only where the first one is doubted.
    agreed : float
        Dice overlap of their masks.
    turned_degrees : float
        By how much the scan was turned before both were asked.
    """

    first: Candidate
    second: Candidate
    agreed: float
    turned_degrees: float = 0.0


def ask(engines, first, t1w, affine, turn=None):
    """Make masks of a scan with two engines, in the scan's orientation or another.

    Parameters
    ----------
    engines : Engines
    first : {"deepbet", "template", "bet"}
    t1w : ndarray, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
    turn : ndarray, shape (3, 3), optional
        Of `turns.list_turns`.

    Returns
    -------
    Pair
        Its masks and transforms refer to the original orientation of the scan.
    """
    if turn is not None:
        return _ask_turned(engines, first, t1w, affine, turn)
    names, scan, small = (first, SECOND[first]), (t1w, affine), thin(t1w, affine)
    masks = [engines.mask(name, scan, small) for name in names]
    agreed = overlap(masks[0][1], masks[1][1])
    candidate = engines.weigh(names[0], masks[0], small)
    if agreed >= LEAST_OPINIONS and not candidate.evidence.faults():
        second_candidate = Candidate(names[1], masks[1][0], None, NOTHING)  # not needed
    else:
        second_candidate = engines.weigh(names[1], masks[1], small)
    return Pair(candidate, second_candidate, agreed)


def _ask_turned(engines, first, t1w, affine, turn):
    """Rotate a scan, make masks, and rotate the results back."""
    turned, grid, matrix = turn_head(t1w, affine, turn)
    pair, back = ask(engines, first, turned, grid), np.linalg.inv(matrix)
    candidates = [
        Candidate(
            candidate.engine,
            None if candidate.mask is None else turn_back(candidate.mask, grid, affine, matrix),
            None if candidate.linear is None else back @ candidate.linear,
            candidate.evidence,
        )
        for candidate in (pair.first, pair.second)
    ]
    angle = np.rad2deg(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    return Pair(*candidates, pair.agreed, round(float(angle), 1))


def thin(volume, affine):
    """Return a scan or a mask at 2 mm where its voxels are finer: enough to judge a mask.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)

    Returns
    -------
    volume : ndarray of float, shape (I, J, K)
    affine : ndarray, shape (4, 4)
        Every voxel lies inside the field of view of the scan.
    """
    size = np.linalg.norm(affine[:3, :3], axis=0)
    if size.min() > 0.95 * OPINION_MM:
        return volume, affine
    fine = Grid(volume.shape, affine)
    grid = rescale_grid(fine, np.maximum(size, OPINION_MM))
    within = np.floor(np.array(fine.shape) * size / grid.voxel_size + 1e-6).astype(int)
    grid = Grid(tuple(int(length) for length in np.maximum(within, 1)), grid.affine)
    return resample(volume.astype(np.float32), affine, grid), grid.affine


def _coarser(ants, scan):
    """Return an ANTs image at 3 mm where its voxels are finer: enough for a linear transform."""
    if min(scan.spacing) >= 2.7:
        return scan
    return ants.resample_image(scan, (3.0,) * 3, use_voxels=False, interp_type=0)


def _affine(image):
    """Return the affine of an ANTs image in RAS+ world space."""
    flip, affine = np.diag([-1.0, -1.0, 1.0]), np.eye(4)
    affine[:3, :3] = flip @ image.direction @ np.diag(image.spacing)
    affine[:3, 3] = flip @ np.array(image.origin)
    return affine
