"""Meaningful perturbation: learn the smallest smooth mask whose blurring lowers the probability.

Blurring voxels lowers the probability of the predicted class; masks with many hidden voxels, or
with rough regions, are penalised. Paper and released code of the study on brains differ:

==================  =============================  =============================================
                    ``fidelity = "paper"``         ``fidelity = "code"``
==================  =============================  =============================================
blur of the brain   Gaussian of 10 voxels          the same, cut to 5 voxels: nearly a box
blur of the mask    Gaussian of 10 voxels          none
minimised           P                              the part of P above 0.05
step size           0.3                            0.3, a tenth of it every 30 steps
optimiser           Adam (0.9, 0.99)               the same with AMSGrad
penalties           whole from the first step      rising over the first fifth of the steps
mask that is kept   the last                       the best after step 50
==================  =============================  =============================================

Our choices, where neither is clear: penalties are means over the mask (with the sums in the paper,
hiding a single voxel costs 3, more than any probability); the mask starts at 1, with nothing
hidden; the mask of the paper is clipped to [0, 1], too.

References
----------
Fong RC, Vedaldi A. Interpretable explanations of black boxes by meaningful perturbation. ICCV 2017.
doi:10.1109/ICCV.2017.371

Kan M, et al. Interpretation of 3D CNNs for brain MRI data classification. AIST 2020.
arXiv:2006.15969
"""

from dataclasses import dataclass

import numpy as np

from bids_sexclf.attribution import Answer, evaluate
from bids_sexclf.attribution._perturbing import blur, enlarge, gaussian, measure_roughness, shift
from bids_sexclf.errors import InputError

NEEDS = {"evidence", "classes", "gradient"}
YIELDS = "voxels"
SCOPE = "participant"
UNIT = "none"
EXACT_ON_LINEAR = False
EXACT_ZERO = False
FIDELITIES = ("paper", "code")
SIGMA, SMALLER, JITTER = 10.0, 4, 5
SPARSITY, SMOOTHNESS, POWER = 3.0, 1.0, 7
STEP, DECAY, EVERY = 0.3, 0.1, 30
SURE, WARM = 0.05, 50


def attribute(rows, view, fidelity="paper", steps=300, draws=10, at_once=8):
    """Learn a mask for each volume.

    Parameters
    ----------
    rows : volumes.Rows or ndarray, shape (n, [C,] X, Y, Z)
    view : attribution.View
        Evidence, module and seed are read.
    fidelity : {"paper", "code"}
        Which of the two is followed.
    steps : int
        Of the optimiser: 300 in the code; the paper does not say.
    draws : int
        Displacements of up to 5 voxels along each axis over which the probability is averaged in
        each step; the displacements are the same for everyone.
    at_once : int
        Number of participants whose masks are learnt together. It changes speed and memory, and
        no more than the last bits of a mask.

    Yields
    ------
    attribution.Answer
        ``values`` of shape (1, X, Y, Z): how much a voxel is hidden, 0 to 1, times 1 if the
        network predicts the second class and -1 if it predicts the first.

    Raises
    ------
    InputError
        If the fidelity is unknown, or a number is below 1.
    """
    if fidelity not in FIDELITIES or min(steps, draws, at_once) < 1:
        raise InputError(
            f"Found fidelity {fidelity!r}, steps {steps}, draws {draws} and at_once {at_once}, "
            f"needed one of {', '.join(FIDELITIES)}, and numbers of at least 1. Correct the "
            "options of 'meaningful_perturbation'."
        )
    for start in range(0, len(rows), at_once):
        batch = range(start, min(start + at_once, len(rows)))
        volumes = np.stack([np.asarray(rows[row], dtype=np.float32) for row in batch])
        whole = np.array([evaluate(view.evidence, one[None])[0] for one in volumes])
        sign = np.where(whole > 0, 1, -1)
        hidden = 1 - learn_masks(view, volumes, sign, _Recipe(fidelity == "code", steps, draws))
        for evidence, one, volume in zip(whole, sign, hidden, strict=True):
            yield Answer(float(evidence), (one * volume)[None], np.array([], int))


@dataclass(frozen=True)
class _Recipe:
    """The settings of learning masks."""

    code: bool
    steps: int
    draws: int

    @property
    def soft(self):
        """Return the weights of the blur of the brain."""
        return gaussian(SIGMA, 5 if self.code else 2 * int(3 * SIGMA) + 1)

    def penalty(self, step):
        """Return the share of the penalties in a step, counted from 0."""
        return min(1.0, step / (self.steps / 5)) if self.code else 1.0


def learn_masks(view, volumes, sign, recipe):
    """Learn the masks of several volumes together.

    Parameters
    ----------
    view : attribution.View
    volumes : ndarray of float32, shape (n, [C,] X, Y, Z)
    sign : ndarray of int, shape (n,)
        1 where the probability of the second class is lowered, -1 for the first.
    recipe : _Recipe

    Returns
    -------
    ndarray of float64, shape (n, X, Y, Z)
        1 if nothing is hidden.
    """
    import torch

    from bids_sexclf.training.devices import reproducible

    place = next((one.device for one in view.module.buffers()), torch.device("cpu"))
    whole = torch.from_numpy(volumes).to(place)
    channels = whole if whole.ndim == 5 else whole[:, None]
    grid = channels.shape[2:]
    small = [max(1, round(length / SMALLER)) for length in grid]
    masks = torch.ones(len(volumes), 1, *small, device=place, requires_grad=True)
    optimizer = torch.optim.Adam([masks], lr=STEP, betas=(0.9, 0.99), amsgrad=recipe.code)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, EVERY, DECAY)
    rng, size = np.random.default_rng(view.seed), (recipe.draws, 3)
    sign = torch.from_numpy(sign.astype(np.float32)).to(place)
    best, least_loss = masks.detach().clone(), torch.full((len(volumes),), torch.inf, device=place)
    with reproducible(), torch.enable_grad():
        soft = blur(channels, recipe.soft)
        for step in range(recipe.steps):
            optimizer.zero_grad()
            shown, moves = _show(masks, grid, recipe), rng.integers(-JITTER, JITTER + 1, size)
            score, slope = _judge(view, (channels, soft), shown.detach(), sign, recipe, moves)
            shown.backward(slope)
            costs = _charge(masks) * recipe.penalty(step)
            costs.sum().backward()
            loss, used = score + costs.detach(), masks.detach().clone()
            optimizer.step()
            if recipe.code:
                schedule.step()
                better = (loss < least_loss) & (step >= min(WARM, recipe.steps - 1))
                least_loss = torch.where(better, loss, least_loss)
                best = torch.where(better[:, None, None, None, None], used, best)
            with torch.no_grad():
                masks.clamp_(0, 1)
        with torch.no_grad():
            result = _show(best if recipe.code else masks, grid, recipe)
    return result[:, 0].double().cpu().numpy()


def _show(masks, grid, recipe):
    """Resample masks to the grid of the volumes."""
    shown = enlarge(masks, grid)
    return shown if recipe.code else blur(shown, recipe.soft)


def _judge(view, pair, shown, sign, recipe, moves):
    """Compute the minimised score and its slope by the masks, averaged over displacements.

    Returns
    -------
    score : torch.Tensor, shape (n,)
    slope : torch.Tensor, the shape of `shown`
    """
    import torch

    channels, soft = pair
    shown.requires_grad_(True)
    total = torch.zeros(len(sign), device=sign.device)
    for move in moves.tolist():  # one at a time: memory does not grow with their number
        perturbed = shift(shown * channels + (1 - shown) * soft, move)
        p = torch.sigmoid(
            sign * view.module(perturbed if perturbed.shape[1] > 1 else perturbed[:, 0])
        )
        score = torch.relu(p - SURE) if recipe.code else p
        (score.sum() / len(moves)).backward(inputs=[shown])
        total += score.detach() / len(moves)
    return total, shown.grad


def _charge(masks):
    """Compute the penalties of masks for hidden voxels and rough edges."""
    hidden = (1 - masks).abs().flatten(1).mean(1)
    return SPARSITY * hidden + SMOOTHNESS * measure_roughness(masks, POWER)
