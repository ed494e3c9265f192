"""The linear effect of confounds on each voxel or feature, estimated row by row."""

import numpy as np

from bids_sexclf.errors import InputError


def learn_effects(rows, design):
    """Estimate the linear effect of confounds on each voxel or feature.

    Memory holds one array per confound, for any number of participants.

    Parameters
    ----------
    rows : sequence of ndarray, each of shape S
        Volumes, or rows of features, of the training part.
    design : ndarray of float, shape (n, k)
        Confounds in their own units; sites as columns of 0 and 1, one fewer than sites.

    Returns
    -------
    effects : ndarray of float32, shape (k, *S)
        Change per standard deviation of a confound; 0 where a confound does not vary, and the
        minimum-norm solution where confounds are linearly dependent.
    centre, spread : ndarray of float64, shape (k,)
        Mean and standard deviation of each confound (1 where it does not vary).

    Raises
    ------
    InputError
        If confounds are unknown or infinite, or there are too few participants for them.

    Notes
    -----
    The target is not in the model: variance shared by confounds and target is removed too.

    Examples
    --------
    >>> age = np.array([[20.0], [40.0], [60.0]])
    >>> effects, centre, spread = learn_effects([np.array([1.0]), [3.0], [5.0]], age)
    >>> round(float(effects[0, 0] / spread[0]), 6), float(centre[0])
    (0.1, 40.0)
    """
    design = np.asarray(design, dtype=np.float64)
    n, k = design.shape
    if not np.isfinite(design).all() or n < k + 2:
        raise InputError(
            f"Found {n} training participants, {int((~np.isfinite(design)).any(1).sum())} of them "
            f"with unknown confounds, for {k} columns of confounds; needed all known, and at least "
            f"{k + 2} participants. Residualize on less, or add participants."
        )
    centre, spread = design.mean(0), design.std(0)
    spread = np.where(spread > 1e-12 * np.maximum(np.abs(centre), 1), spread, 1.0)
    weights = np.linalg.pinv((design - centre) / spread, rcond=1e-10)
    first, effects = np.asarray(rows[0], dtype=np.float64), 0.0
    for index in range(n):
        # Deviations from one row keep constant voxels at exactly 0.
        deviation = np.asarray(rows[index], dtype=np.float64) - first
        effects = effects + np.multiply.outer(weights[:, index], deviation)
    return np.asarray(effects, dtype=np.float32), centre, spread
