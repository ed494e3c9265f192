"""The participants of a phantom: balanced, reproducible, and different by what was asked."""

from collections import Counter

import numpy as np
import pytest

from bids_sexclf.phantom.options import PhantomOptions
from bids_sexclf.phantom.population import MEAN_BRAIN_ML, draw_people, site_draws

N = 400


def cohens_d(people, value):
    women, men = (
        np.array([value(person) for person in people if person.sex == sex]) for sex in "FM"
    )
    pooled = np.sqrt((women.var(ddof=1) + men.var(ddof=1)) / 2)
    return (men.mean() - women.mean()) / pooled


def standard_error(d):
    """Large-sample SE of Cohen's d for two equal groups (Hedges & Olkin 1985)."""
    return np.sqrt(4 / N + d**2 / (2 * N))


def regional_ds(options):
    people = draw_people(options)
    return {
        (quantity, index): cohens_d(people, lambda p: p.regional_values(quantity)[index - 1])  # noqa: B023
        for quantity in options.maps
        for index in range(1, 25)
    }


@pytest.mark.parametrize(("quantity", "asked"), [("T1w", 1.5), ("MD", -0.8)])
def test_only_the_planted_region_and_map_differ_and_by_the_asked_d(quantity, asked):
    options = PhantomOptions(
        participants=N, effect_map=quantity, effect_size=asked, effect_region="5"
    )
    found = regional_ds(options)
    assert abs(found.pop((quantity, 5)) - asked) < 3 * standard_error(asked)
    # The largest of 95 normal deviates exceeds 4 with a probability of 0.6 %.
    assert max(map(abs, found.values())) < 4 * standard_error(0)


def test_no_effect_asked_gives_none():
    found = regional_ds(PhantomOptions(participants=N, effect_size=0, seed=1))
    assert max(map(abs, found.values())) < 4 * standard_error(0)


def test_regional_values_vary_by_the_asked_sd():
    people = draw_people(PhantomOptions(participants=N, effect_size=0, regional_sd=0.03))
    values = np.array([person.relative["FA"] for person in people])
    assert np.allclose(values.std(), 0.03, rtol=0.03)
    assert np.allclose(values.mean(), 1, atol=0.002)


@pytest.mark.parametrize("asked", [0.0, 1.2])
def test_brain_volume_differs_by_the_asked_d(asked):
    people = draw_people(PhantomOptions(participants=N, brain_size_difference=asked))
    assert abs(cohens_d(people, lambda p: p.volume_ml) - asked) < 3 * standard_error(asked)
    assert abs(np.mean([p.volume_ml for p in people]) - MEAN_BRAIN_ML) < 20


@pytest.mark.parametrize("twins", [0, 3, 4])
@pytest.mark.parametrize("sites", [1, 3])
def test_sexes_are_as_many_overall_and_at_each_site(twins, sites):
    people = draw_people(PhantomOptions(participants=48, twins=twins, sites=sites))
    assert Counter(p.sex for p in people) == {"F": 24, "M": 24}
    assert {p.site for p in people} == set(range(sites))
    for site in range(sites):
        counted = Counter(p.sex for p in people if p.site == site)
        assert counted["F"] == counted["M"]


def test_ages_are_uniform_and_matched_across_the_sexes():
    people = draw_people(PhantomOptions(participants=N))
    women, men = (np.sort([p.age for p in people if p.sex == sex]) for sex in "FM")
    assert abs(women - men).max() < 4
    # Uniform on [20, 80]: mean 50, SD 60 / sqrt(12).
    assert abs(women.mean() - 50) < 3 * 60 / np.sqrt(12 * N / 2)
    assert 20 <= women.min() and women.max() <= 80


def test_a_participant_does_not_depend_on_how_many_there_are():
    few, many = (
        draw_people(PhantomOptions(participants=n, twins=3, sites=2, faulty=0.3)) for n in (8, 31)
    )
    for one, other in zip(few, many, strict=False):
        assert (one.label, one.sex, one.age, one.site) == (
            other.label, other.sex, other.age, other.site,
        )  # fmt: skip
        assert (one.family, one.fault, one.volume_ml) == (
            other.family, other.fault, other.volume_ml,
        )  # fmt: skip
        assert all(np.array_equal(one.relative[m], other.relative[m]) for m in one.relative)


def test_another_seed_gives_other_people():
    one, other = (draw_people(PhantomOptions(seed=seed))[0] for seed in (0, 1))
    assert one.volume_ml != other.volume_ml


def test_twins_share_family_sex_age_and_most_of_their_values():
    people = draw_people(PhantomOptions(participants=200, twins=100, effect_size=0))
    families = [p.family for p in people]
    assert set(Counter(families).values()) == {2}
    firsts, seconds = people[::2], people[1::2]
    for one, other in zip(firsts, seconds, strict=True):
        assert (one.family, one.sex, one.age, one.site) == (
            other.family, other.sex, other.age, other.site,
        )  # fmt: skip
        assert one.volume_ml != other.volume_ml
    values = [np.concatenate([p.relative["FA"] for p in group]) for group in (firsts, seconds)]
    assert abs(np.corrcoef(values)[0, 1] - 0.9) < 0.02


def test_unrelated_participants_have_families_of_their_own():
    people = draw_people(PhantomOptions(participants=20, twins=3))
    assert sorted(Counter(p.family for p in people).values()) == [1] * 14 + [2] * 3


@pytest.mark.parametrize(("share", "expected"), [(0, 0), (0.25, 10), (0.3, 12), (1, 40)])
def test_faults_strike_the_asked_share_one_kind_after_the_other(share, expected):
    people = draw_people(PhantomOptions(participants=40, faulty=share))
    counted = Counter(p.fault for p in people if p.fault)
    assert sum(counted.values()) == expected
    assert not counted or max(counted.values()) - min(counted.values()) <= 1


def test_no_b_values_are_lost_where_there_are_none():
    people = draw_people(PhantomOptions(participants=20, faulty=1, dwi=False))
    assert {p.fault for p in people} == {"truncated_t1w", "nan_slab", "missing_sex"}


def test_sites_differ_only_where_there_are_several():
    assert site_draws(PhantomOptions(sites=1), 0) == (1, 1, 1)
    options = PhantomOptions(sites=2)
    assert not np.allclose(site_draws(options, 0), site_draws(options, 1))
    assert site_draws(options, 1) == site_draws(options, 1)
