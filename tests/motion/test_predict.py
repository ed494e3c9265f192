import numpy as np
from scipy.spatial.transform import Rotation

from bids_sexclf.motion import predict

BVALS = np.repeat([1000.0, 2000.0], 12)
BVECS = Rotation.random(24, random_state=0).as_matrix()[:, 0]


def series(noise=0.0):
    """Draw the signal of 200 tensors along BVECS, and noise."""
    rng = np.random.default_rng(0)
    axes = Rotation.random(200, random_state=1).as_matrix()[:, 0]
    along = (BVECS @ axes.T) ** 2
    signal = np.exp(-BVALS[:, None] * (0.4e-3 + 1.0e-3 * along))
    return signal + noise * rng.normal(size=signal.shape), signal


def test_closed_form_equals_leaving_each_volume_out_by_hand():
    kernel, noise = predict.covariance(BVALS, BVECS, 1.2, 6.0), 0.3
    data, _ = series(0.05)
    errors = predict.residual_operator(kernel, noise) @ data
    for left in (0, 7, 23):
        kept = np.delete(np.arange(24), left)
        inner = kernel[np.ix_(kept, kept)] + noise * np.eye(23)
        guess = kernel[left, kept] @ np.linalg.solve(inner, data[kept])
        np.testing.assert_allclose(errors[left], data[left] - guess, rtol=1e-5, atol=1e-8)


def test_no_volume_predicts_itself():
    data, _ = series(0.05)
    predictor = predict.fit_predictor(data @ data.T, BVALS, BVECS)
    np.testing.assert_allclose(np.diag(predictor), 0, atol=1e-9)


def test_prediction_is_nearer_to_the_truth_than_the_mean_of_the_shell():
    data, truth = series(0.05)
    predicted = predict.fit_predictor(data @ data.T, BVALS, BVECS) @ data
    mean = np.vstack([data[:12].mean(0)] * 12 + [data[12:].mean(0)] * 12)
    assert np.square(predicted - truth).mean() < 0.5 * np.square(mean - truth).mean()


def test_a_direction_and_its_opposite_are_one():
    flipped = BVECS * np.where(np.arange(24) % 2, -1, 1)[:, None]
    np.testing.assert_allclose(
        predict.covariance(BVALS, flipped, 1.2, 6.0), predict.covariance(BVALS, BVECS, 1.2, 6.0)
    )
