"""Fills: what is put in where a region is hidden, each by its formula."""

import numpy as np
import pandas as pd
import pytest

from bids_sexclf import catalogue, fills
from bids_sexclf.errors import InputError
from bids_sexclf.fills import donors

GRID = (4, 5, 3)


def make_people(n, women=0.5, families=None, seed=0):
    rng = np.random.default_rng(seed)
    names = [f"sub-{i:02d}" for i in range(n)]
    return pd.DataFrame(
        {
            "participant_id": names,
            "session_id": None,
            "family": families or names,
            "sex": ["female" if i < women * n else "male" for i in range(n)],
            "age_years": rng.uniform(20, 80, n),
            "brain_volume_ml": rng.normal(1200, 100, n),
        }
    )


@pytest.fixture
def tested():
    """Six women and four men on a small grid of three regions."""
    volumes = np.random.default_rng(1).normal(5, 1, (10, *GRID)).astype(np.float32)
    labels = np.zeros(GRID, int)
    labels[0], labels[1], labels[2] = 1, 2, 4
    alike = ("age_years", "brain_volume_ml")
    return fills.Tested(
        volumes, make_people(10, 0.6), labels >= 0, labels, labels == 2, alike, seed=3
    )


@pytest.mark.parametrize("name", catalogue.names("bids_sexclf.fills"))
@pytest.mark.parametrize("channels", [None, 2])
def test_every_fill_gives_volumes_of_the_same_kind_whose_weights_sum_to_one(tested, name, channels):
    entry, rows = fills.find(name), tested.rows
    if channels:
        rows = np.stack([rows] * channels, axis=1)
    fill = fills.prepare(name, fills.Tested(**vars(tested) | {"rows": rows}))
    assert isinstance(entry.CLAIMS, bool) and entry.SAYS
    for row in (0, 9):
        before = rows[row].copy()
        replacements = fill(rows[row], row)
        assert sum(one.weight for one in replacements) == pytest.approx(1)
        for one in replacements:
            assert one.volume.shape == rows[row].shape and one.volume.dtype == rows.dtype
            assert np.isfinite(one.volume).all()
        np.testing.assert_array_equal(rows[row], before)


def test_only_donors_make_claims():
    claiming = [name for name in catalogue.names("bids_sexclf.fills") if fills.find(name).CLAIMS]
    assert claiming == ["donors"]


def test_constant_fills_are_the_means_they_are_named_after(tested):
    volume = tested.rows[2]
    put_in = {
        name: fills.prepare(name, tested)(volume, 2)[0].volume
        for name in ("zero", "white_matter_mean", "region_mean")
    }
    assert not put_in["zero"].any()
    np.testing.assert_allclose(put_in["white_matter_mean"], volume[1].mean(), rtol=1e-5)
    # Both sexes weigh alike, although there are six women and four men.
    women, men = tested.rows[:6, 2].mean(), tested.rows[6:, 2].mean()
    np.testing.assert_allclose(put_in["region_mean"][2], (women + men) / 2, rtol=1e-5)


def test_a_flat_brain_stays_flat_when_blurred(tested):
    mask = np.zeros(GRID, bool)
    mask[1:3, 1:4] = True
    volume = np.where(mask, 7, 0).astype(np.float32)
    fill = fills.prepare("blur", fills.Tested(**vars(tested) | {"mask": mask}), width=1.0)
    np.testing.assert_allclose(fill(volume, 0)[0].volume, volume, rtol=1e-5)


def test_donors_are_unrelated_and_of_both_sexes():
    families = [f"f{i // 2}" for i in range(20)]
    people = make_people(20, families=families)
    for row, chosen in enumerate(donors.assign_donors(people, 3)):
        for sex, rows in chosen.items():
            assert len(set(rows)) == 3
            assert (people["sex"].iloc[rows] == sex).all()
            assert families[row] not in [families[donor] for donor in rows]


@pytest.mark.parametrize("women", [0.5, 0.6, 0.2])
def test_every_donor_serves_about_as_often_for_women_as_for_men(women):
    people = make_people(40, women)
    chosen = donors.assign_donors(people, 2, ("age_years", "brain_volume_ml"))
    receivers = people["sex"].to_numpy()
    for sex in donors.SEXES:
        for receiver in donors.SEXES:
            rows = [d for row in np.flatnonzero(receivers == receiver) for d in chosen[row][sex]]
            mine = np.flatnonzero(receivers == sex)
            served = np.bincount(rows, minlength=40)[mine]
            share = (receivers == receiver).sum() / len(mine)
            assert served.max() <= 2 * np.ceil(share)


def test_donors_are_nearer_in_size_and_age_than_strangers_are():
    people = make_people(60)
    chosen = donors.assign_donors(people, 1, ("age_years", "brain_volume_ml"))
    age = people["age_years"].to_numpy()
    gaps = [abs(age[row] - age[d]) for row, one in enumerate(chosen) for d in sum(one.values(), [])]
    anyone = np.abs(age[:, None] - age).mean()
    assert np.mean(gaps) < 0.5 * anyone


def test_donors_do_not_depend_on_the_order_of_rows_and_do_on_the_seed():
    people = make_people(30)
    order = np.random.default_rng(5).permutation(30)
    names = people["participant_id"].to_numpy()

    def by_name(table, seed):
        chosen = donors.assign_donors(table, 2, seed=seed)
        ids = table["participant_id"].to_numpy()
        return {
            ids[row]: {s: [ids[d] for d in one[s]] for s in one} for row, one in enumerate(chosen)
        }

    first = by_name(people, 1)
    assert sorted(first) == sorted(names)
    assert by_name(people.iloc[order].reset_index(drop=True), 1) == first
    assert by_name(people, 2) != first


def test_unknown_ages_and_sizes_still_find_donors():
    people = make_people(12).assign(age_years=np.nan, brain_volume_ml=np.nan)
    chosen = donors.assign_donors(people, 2, ("age_years", "brain_volume_ml"))
    assert all(len(rows) == 2 for one in chosen for rows in one.values())


def test_nobody_of_one_sex_leaves_nothing_to_put_in(tested):
    people = tested.people.assign(sex="female")
    fill = fills.prepare("donors", fills.Tested(**vars(tested) | {"people": people}))
    assert fill(tested.rows[0], 0) == []
    # One man: everybody else finds him, he himself finds no man.
    people = tested.people.assign(sex=["female"] * 9 + ["male"])
    fill = fills.prepare("donors", fills.Tested(**vars(tested) | {"people": people}))
    assert fill(tested.rows[9], 9) == []
    weights = [one.weight for one in fill(tested.rows[0], 0)]
    assert weights == [0.25, 0.25, 0.5]


def test_options_are_checked_by_name(tested):
    with pytest.raises(InputError, match=r"per_sexx.*needed some of per_sex.*did you mean|per_sex"):
        fills.prepare("donors", tested, per_sexx=3)
    with pytest.raises(InputError, match="donors, region_mean, white_matter_mean, zero"):
        fills.find("donor")


def test_a_grid_without_white_matter_is_refused(tested):
    empty = fills.Tested(**vars(tested) | {"white": np.zeros(GRID, bool)})
    with pytest.raises(InputError, match="no voxel of white matter"):
        fills.prepare("white_matter_mean", empty)
