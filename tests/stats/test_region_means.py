import re

import numpy as np
import pandas as pd
import pytest

from bids_sexclf import atlases
from bids_sexclf.errors import GridError
from bids_sexclf.stats.region_means import pool, region_means
from bids_sexclf.volumes import Grid, load


@pytest.fixture
def brain():
    rng = np.random.default_rng(0)
    parcellation = rng.integers(0, 6, (7, 8, 9))
    volume = rng.normal(size=parcellation.shape) * (rng.random(parcellation.shape) > 0.3)
    return volume, parcellation


def test_the_mean_is_that_of_the_voxels_one_would_pick_by_hand(brain):
    volume, parcellation = brain
    means, counts = region_means(volume, parcellation, [5, 2])
    for region, mean, count in zip([5, 2], means, counts, strict=True):
        picked = volume[(parcellation == region) & (volume != 0)]
        assert count == picked.size and mean == pytest.approx(picked.mean())


def test_a_region_without_values_is_unknown_and_counts_none(brain):
    volume, parcellation = brain
    volume[parcellation == 3], volume[parcellation == 4] = 0, np.nan
    means, counts = region_means(volume, parcellation, [1, 3, 4, 77])
    assert np.isnan(means[1:]).all() and counts[1:].tolist() == [0, 0, 0] and np.isfinite(means[0])


def test_where_voxels_lie_does_not_matter_as_long_as_both_move(brain):
    volume, parcellation = brain
    order = np.random.default_rng(1).permutation(volume.size)
    shuffled = (array.ravel()[order] for array in (volume, parcellation))
    for one, other in zip(
        region_means(*brain, range(1, 6)), region_means(*shuffled, range(1, 6)), strict=True
    ):
        np.testing.assert_allclose(one, other)


def test_pooling_regions_is_averaging_their_union(brain):
    volume, parcellation = brain
    merged = np.where(np.isin(parcellation, [1, 4]), 9, parcellation)
    pooled = pool(*region_means(volume, parcellation, [1, 2, 4]), [[0, 2]])
    for one, other in zip(pooled, region_means(volume, merged, [9]), strict=True):
        np.testing.assert_allclose(one, other)


def test_an_atlas_on_another_grid_is_refused(brain):
    with pytest.raises(GridError, match="needed one grid"):
        region_means(brain[0], brain[1][1:], [1])


@pytest.fixture(scope="module")
def enigma(real_data):
    """The skeletonised FA, the labels, and ENIGMA's own tables, all regions of one participant."""
    folder = real_data / "enigma-dti"
    volume, _ = load(folder / "Subject1_FA_skeletonised.nii.gz", ndim=3)
    labels, _ = load(folder / "JHU-WhiteMatter-labels-1mm.nii.gz", ndim=3)
    tables = (pd.read_csv(folder / f"Subject1_ROIout{kind}.csv") for kind in ("", "_avg"))
    return volume, labels.astype(int), *(table.set_index("Tract") for table in tables)


def test_enigmas_own_region_means_are_reproduced(enigma):
    """Its table begins with the whole skeleton, then follows the labels from the genu (3) on."""
    volume, labels, table, _ = enigma
    means, counts = region_means(volume, labels, range(3, 49))
    np.testing.assert_allclose(means, table["Average"][1:], atol=1e-4)
    np.testing.assert_array_equal(counts, table["nVoxels"][1:])
    whole, count = region_means(volume, np.ones_like(labels), [1])
    assert whole[0] == pytest.approx(table["Average"].iloc[0], abs=1e-4)
    assert count[0] == table["nVoxels"].iloc[0]


def test_enigmas_own_averages_over_several_regions_are_reproduced(enigma):
    volume, labels, table, pooled = enigma
    names = list(table.index)[1:]
    several = {"CC": ["GCC", "BCC", "SCC"]}
    several["IC"] = [name for name in names if re.match("(ALIC|PLIC|RLIC)-", name)]
    several["CR"] = [name for name in names if re.match("(ACR|SCR|PCR)-", name)]
    several |= {name[:-2]: [name, f"{name[:-2]}-L"] for name in names if name.endswith("-R")}
    several = {name: group for name, group in several.items() if name in pooled.index}
    assert {"CC", "IC", "CR", "ACR", "SLF"} <= set(several)
    members = [[names.index(member) for member in group] for group in several.values()]
    means, counts = pool(*region_means(volume, labels, range(3, 49)), members)
    expected = pooled.loc[list(several)]
    np.testing.assert_allclose(means, expected["Average"], atol=1e-4)
    np.testing.assert_array_equal(counts, expected["nVoxels"])


def test_fsls_atlas_and_enigmas_are_one_and_its_groups_are_enigmas(enigma, real_data, monkeypatch):
    monkeypatch.setenv("FSLDIR", str(real_data / "fsl"))
    volume, labels, _, pooled = enigma
    _, affine = load(real_data / "enigma-dti/JHU-WhiteMatter-labels-1mm.nii.gz", ndim=3)
    atlas = atlases.find_atlas("JHU", Grid(labels.shape, affine), "MNI152NLin6Asym")
    np.testing.assert_array_equal(atlas.parcellation, labels)
    theirs = pd.read_csv(real_data / "enigma-dti/JHU-WhiteMatter-labels-1mm.tsv", sep="\t")
    assert atlas.labels["index"].tolist() == theirs["index"].tolist() == list(range(1, 49))
    same = [
        re.findall("[a-z]+", mine.lower())[0] == re.findall("[a-z]+", other.lower())[0]
        and mine.strip()[-2:] == other.strip()[-2:]
        for mine, other in zip(atlas.labels["name"], theirs["name"], strict=True)
        if other.endswith((" L", " R"))
    ]
    assert all(same) and len(same) == 42
    groups = atlases.groups_of("JHU")
    means, counts = region_means(volume, atlas.parcellation, range(1, 49))
    found, _ = pool(means, counts, [[index - 1 for index in group] for group in groups.values()])
    names = {"Corpus callosum": "CC", "Internal capsule": "IC", "Corona radiata": "CR"}
    expected = pooled["Average"].loc[[names[name] for name in groups]]
    np.testing.assert_allclose(found, expected, atol=1e-4)
