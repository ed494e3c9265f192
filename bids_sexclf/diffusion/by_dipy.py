"""Fit tensor and kurtosis with dipy's models; the results have the keys of our own fits."""

import numpy as np

from bids_sexclf.diffusion import kurtosis, tensor
from bids_sexclf.diffusion._least_squares import SIGNAL_FLOOR, log_signal
from bids_sexclf.diffusion._voxels import CHUNK_SIZE, alone, check_scan, fit_voxels
from bids_sexclf.diffusion.kurtosis import KURTOSIS_RANGE, check_kurtosis
from bids_sexclf.diffusion.tensor import (
    MAX_DIFFUSIVITY,
    MAX_S0,
    MIN_DIFFUSIVITY,
    blank,
    check_tensor,
    choose_volumes,
    declare,
)


@alone
def fit_tensor(
    dwi,
    bvals,
    bvecs,
    mask=None,
    *,
    b0_threshold=50,
    counts=False,
    directions=False,
    n_threads=1,
):
    """Fit one diffusion tensor per voxel by dipy's weighted least squares.

    Parameters
    ----------
    dwi, bvals, bvecs, mask, b0_threshold, counts, directions, n_threads
        As in `bids_sexclf.diffusion.fit_tensor`, with the same choice of volumes
        and the same floor of the signal.

    Returns
    -------
    dict of numpy.ndarray
        float32 arrays of shape (X, Y, Z), one for each record in ``tensor.MAPS``; and ``V1`` of
        shape (X, Y, Z, 3) if ``directions``.

    References
    ----------
    Garyfallidis et al. (2014), doi:10.3389/fninf.2014.00008
    """
    from dipy.reconst.dti import TensorModel

    scan = check_scan(dwi, bvals, bvecs, mask, b0_threshold)
    scan = scan._replace(gradients=choose_volumes(scan.gradients, None))
    check_tensor(scan.gradients)
    model = TensorModel(_table(scan.gradients, b0_threshold), fit_method="WLS", return_S0_hat=True)
    outputs = declare(tensor.MAPS, counts) | ({"V1": (np.float32, 3)} if directions else {})

    def principal(fit):
        return {"V1": fit.evecs[..., 0].T}

    return _fit(model, principal, outputs, scan, n_threads)


@alone
def fit_kurtosis(
    dwi,
    bvals,
    bvecs,
    mask=None,
    *,
    min_kurtosis=KURTOSIS_RANGE[0],
    max_kurtosis=KURTOSIS_RANGE[1],
    b0_threshold=50,
    counts=False,
    n_threads=1,
):
    """Fit diffusion and kurtosis tensors per voxel by dipy's weighted least squares.

    Parameters
    ----------
    dwi, bvals, bvecs, mask, min_kurtosis, max_kurtosis, b0_threshold, counts, n_threads
        As in `bids_sexclf.diffusion.fit_kurtosis`, with the same floor of the
        signal.

    Returns
    -------
    dict of numpy.ndarray
        float32 arrays of shape (X, Y, Z), one for each record in ``kurtosis.MAPS``.

    References
    ----------
    Henriques et al. (2021), doi:10.3389/fnhum.2021.675433
    """
    from dipy.reconst.dki import DiffusionKurtosisModel

    scan = check_scan(dwi, bvals, bvecs, mask, b0_threshold)
    check_kurtosis(scan.gradients, b0_threshold)
    limits = {"min_kurtosis": min_kurtosis, "max_kurtosis": max_kurtosis}

    def averages(fit):
        averages_by_name = {"MK": fit.mk(**limits), "AK": fit.ak(**limits), "RK": fit.rk(**limits)}
        values = np.stack(list(averages_by_name.values()))
        clipped = ((values <= min_kurtosis) | (values >= max_kurtosis)).sum(axis=0)
        return averages_by_name | {"KFA": fit.kfa, "n_clipped": clipped}

    model = DiffusionKurtosisModel(
        _table(scan.gradients, b0_threshold), fit_method="WLS", return_S0_hat=True
    )
    return _fit(model, averages, declare(kurtosis.MAPS, counts), scan, n_threads)


def _table(gradients, b0_threshold):
    from dipy.core.gradients import gradient_table

    return gradient_table(gradients.bvals, bvecs=gradients.bvecs, b0_threshold=b0_threshold)


def _fit(model, extra_maps, outputs, scan, n_threads):
    """Fit a model of dipy chunk by chunk, and clip its maps to the declared ranges."""

    def fit_chunk(signal):
        logs, log_s0, floored, empty = log_signal(signal, scan.gradients.reference, SIGNAL_FLOOR)
        fit = model.fit(np.exp((logs + log_s0).T, dtype=float))
        evals = np.clip(fit.evals.T, MIN_DIFFUSIVITY, MAX_DIFFUSIVITY)
        log_s0 = np.log(np.clip(np.ravel(fit.S0_hat), np.finfo(np.float32).tiny, MAX_S0))
        maps = tensor.tensor_maps(log_s0, evals) | extra_maps(fit)
        outside = ((evals <= MIN_DIFFUSIVITY) | (evals >= MAX_DIFFUSIVITY)).sum(axis=0)
        maps["n_clipped"] = maps.get("n_clipped", 0) + outside
        maps["n_floored"] = floored.sum(axis=0)
        return blank(maps, empty)

    return fit_voxels(fit_chunk, scan, outputs, chunk_size=CHUNK_SIZE, n_threads=n_threads)
