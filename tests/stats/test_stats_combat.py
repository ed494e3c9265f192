"""ComBat: held to the equations of Johnson 2007 written out, and to what they promise."""

import numpy as np
import pytest

from bids_sexclf.errors import InputError
from bids_sexclf.stats.combat import learn_sites, shrink
from bids_sexclf.stats.residuals import learn_effects

COUNTS = (25, 12, 40)
SITE = np.repeat(np.arange(3), COUNTS)


@pytest.fixture
def scans():
    """Give 77 participants with 60 features, moved and stretched by site."""
    rng = np.random.default_rng(0)
    values = 100 + 5 * rng.standard_normal((77, 60)) * rng.uniform(0.5, 2, 60)
    moved = rng.normal([-6, 0, 4], 1, (60, 3)).T
    stretched = rng.uniform([0.6, 1, 1.5], [0.8, 1.2, 2], (60, 3)).T
    return 100 + (values - 100) * stretched[SITE] + moved[SITE]


def harmonized(values, site=SITE):
    gain, shift = learn_sites(values, site, site.max() + 1)
    return gain[site] * values + shift[site]


def by_the_paper(values):
    """Write out equations 2.1 to 3.1 of the paper, participant by participant."""
    n = len(values)
    means = np.stack([values[SITE == s].mean(0) for s in range(3)])
    grand = np.average(means, axis=0, weights=COUNTS)
    sigma = np.sqrt(((values - means[SITE]) ** 2).sum(0) / n)
    z = (values - grand) / sigma
    out = np.empty_like(z)
    for s in range(3):
        mine = z[SITE == s]
        gamma_hat, delta_hat = mine.mean(0), mine.var(0, ddof=1)
        gamma_bar, tau2 = gamma_hat.mean(), gamma_hat.var(ddof=1)
        m, v = delta_hat.mean(), delta_hat.var(ddof=1)
        lam, theta = (m**2 + 2 * v) / v, (m**3 + m * v) / v
        gamma, delta = gamma_hat, delta_hat
        for _ in range(200):
            gamma = (len(mine) * tau2 * gamma_hat + delta * gamma_bar) / (len(mine) * tau2 + delta)
            squares = ((mine - gamma) ** 2).sum(0)
            delta = (theta + squares / 2) / (len(mine) / 2 + lam - 1)
        out[SITE == s] = sigma * (mine - gamma) / np.sqrt(delta) + grand
    return out


def test_it_is_the_papers(scans):
    np.testing.assert_allclose(harmonized(scans), by_the_paper(scans), rtol=1e-4)


def test_location_and_scale_of_sites_vanish(scans):
    after = harmonized(scans)
    means = np.stack([after[SITE == s].mean() for s in range(3)])
    spreads = np.stack([after[SITE == s].std(0).mean() for s in range(3)])
    assert np.ptp(means) < 0.5 < 5 < np.ptp([scans[SITE == s].mean() for s in range(3)])
    assert spreads.max() / spreads.min() < 1.1


def test_mean_over_everyone_is_kept(scans):
    np.testing.assert_allclose(harmonized(scans).mean(0), scans.mean(0), rtol=0.01)


def test_sites_that_do_not_differ_are_hardly_changed():
    rng = np.random.default_rng(1)
    values = rng.standard_normal((200, 300))
    site = rng.integers(0, 2, 200)
    change = harmonized(values, site) - values
    raw = np.stack([values[site == s].mean(0) for s in (0, 1)])
    # The estimates are noise of SD 0.1 about 0, and are shrunk towards it.
    assert np.abs(change).mean() < 0.5 * np.abs(raw - values.mean(0)).mean() + 0.05


def test_small_sites_are_shrunk_more():
    rng = np.random.default_rng(2)
    location, scale = rng.normal(1, 0.5, 200), rng.uniform(0.5, 2, 200)
    few, many = (shrink(location, scale, count)[0] for count in (3, 300))
    assert few.std() < 0.9 * location.std() and many.std() > 0.95 * location.std()
    np.testing.assert_allclose(few.mean(), 1, atol=0.1)


def test_order_of_participants_does_not_matter(scans):
    order = np.random.default_rng(0).permutation(77)
    np.testing.assert_allclose(
        harmonized(scans[order], SITE[order]), harmonized(scans)[order], rtol=1e-5
    )


def test_voxels_that_never_vary_stay_as_they_are(scans):
    scans[:, 0], scans[:, 1] = 0, 7.7
    after = harmonized(scans)
    np.testing.assert_array_equal(after[:, :2], scans[:, :2])


def test_volumes_of_any_shape_are_learnt_alike(scans):
    gain, shift = learn_sites(scans.reshape(77, 3, 4, 5), SITE, 3)
    flat = learn_sites(scans, SITE, 3)
    np.testing.assert_array_equal(gain.reshape(3, -1), flat[0])
    np.testing.assert_array_equal(shift.reshape(3, -1), flat[1])


def test_a_single_feature_takes_its_own_moments(scans):
    after = harmonized(scans[:, :1])
    for s in range(3):
        np.testing.assert_allclose(after[SITE == s].mean(), scans[:, 0].mean(), rtol=1e-5)


def test_a_site_of_one_is_refused(scans):
    with pytest.raises(InputError, match=r"\[25, 12, 39, 1\].*at least two"):
        learn_sites(scans, np.r_[SITE[:-1], 3], 4)


class Single:
    """Refuses to give more than one participant at a time."""

    def __init__(self, values):
        self.values = values

    def __getitem__(self, index):
        assert isinstance(index, int)
        return self.values[index]


def test_participants_are_read_one_by_one(scans):
    for one, other in zip(
        learn_sites(Single(scans), SITE, 3), learn_sites(scans, SITE, 3), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    design = np.arange(77.0)[:, None]
    for one, other in zip(
        learn_effects(Single(scans), design), learn_effects(scans, design), strict=True
    ):
        np.testing.assert_array_equal(one, other)
