"""What evidence adds to confounds: nothing where there is nothing, and something where there is."""

import numpy as np
import pytest

from bids_sexclf.stats.added import adds
from bids_sexclf.stats.design import spline_columns


def _people(case, seed, n=120, effect=0.0):
    """Draw sexes, sizes, and evidence that knows size (or nothing) and, with an effect, sex."""
    rng = np.random.default_rng([seed, 8])
    sex = rng.permutation(np.arange(n) % (3 if case == "unequal" else 2) == 0).astype(int)
    family = np.arange(n)
    if case == "twins":
        family, sex = np.arange(n) // 2, np.repeat(rng.permutation(np.arange(n // 2) % 2), 2)
    own, shared = rng.standard_normal((2, n))
    noise = np.sqrt(0.3) * own + np.sqrt(0.7) * shared[family] if case == "twins" else own
    size = rng.standard_normal(n) + 1.5 * sex
    evidence = {"nothing": noise, "bent": np.exp(size) / 4 + noise}.get(case, size + 0.7 * noise)
    return sex, size, evidence + effect * sex, family


@pytest.mark.parametrize("case", ["nothing", "size", "bent", "unequal", "twins"])
def test_size_alone_adds_nothing_to_size(case, above):
    wrong = 0
    for seed in range(300):
        sex, size, evidence, family = _people(case, seed)
        made = adds(sex, evidence, spline_columns(size), group=family)
        wrong += made["p"] <= 0.05
    assert not above(wrong, 300, 0.05)
    assert wrong > 0


def test_what_adds_is_found():
    made = []
    for seed in range(40):
        sex, size, evidence, family = _people("size", seed, effect=0.8)
        made.append(adds(sex, evidence, spline_columns(size), group=family)["p"] <= 0.05)
    assert np.mean(made) > 0.9


def test_score_is_that_of_the_whole_model():
    """Against the score test of statsmodels, where nothing is separated and many are studied."""
    import statsmodels.api as sm

    rng = np.random.default_rng(0)
    n = 4000
    size = rng.standard_normal(n)
    sex = (rng.random(n) < 1 / (1 + np.exp(-size))).astype(int)
    evidence = size + rng.standard_normal(n) + 0.05 * sex
    made = adds(sex, evidence, size[:, None])
    model = sm.GLM(sex, sm.add_constant(size), family=sm.families.Binomial())
    score, p, _ = model.score_test(model.fit().params, exog_extra=evidence[:, None])
    assert made["z"] ** 2 == pytest.approx(float(np.squeeze(score)), rel=2e-3)
    assert min(made["p"], 1 - made["p"]) * 2 == pytest.approx(float(np.squeeze(p)), rel=2e-2)


def test_repeats_folds_and_the_factor():
    rng = np.random.default_rng(1)
    sex, size, evidence, _ = _people("size", 3, effect=0.5)
    n = sex.size
    fold = np.arange(n) % 4
    one = adds(sex, evidence, size[:, None], fold=fold)
    # Each fold has a scale of its own, and order does not matter.
    order = rng.permutation(n)
    stretched = evidence * (1 + fold) + 10 * fold
    other = adds(sex[order], stretched[order], size[order, None], fold=fold[order])
    assert other["z"] == pytest.approx(one["z"], rel=1e-6)
    # Repeats of one participant are one participant.
    two = adds(
        *(np.tile(column, 2) for column in (sex, evidence)),
        np.tile(size, 2)[:, None],
        fold=np.r_[fold, fold + 4],
        participant=np.tile(np.arange(n), 2),
    )
    assert two["z"] == pytest.approx(one["z"], rel=1e-9) and two["n"] == n
    half = adds(sex, evidence, size[:, None], fold=fold, factor=2.0)
    assert half["z"] == pytest.approx(one["z"] / np.sqrt(2), rel=1e-9)


def test_what_cannot_be_tested_says_why():
    sex = np.arange(40) % 2
    noise = np.random.default_rng(2).standard_normal(40)
    assert "confounds alone" in adds(sex, noise, 50.0 * sex[:, None])["reason"]
    assert "constant" in adds(sex, np.ones(40), noise[:, None])["reason"]
    assert "function of the confounds" in adds(sex, 3 * noise + 1, noise[:, None])["reason"]
    few = adds(sex[:5], noise[:5], noise[:5, None])
    assert "too few" in few["reason"] and np.isnan([few["z"], few["p"]]).all()
