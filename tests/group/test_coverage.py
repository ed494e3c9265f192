"""What a scan has not measured is unknown: no zero in arrays, no mean of a region."""

import numpy as np
import pytest

from bids_sexclf import layout
from bids_sexclf.cohort.coverage import fill_gaps
from bids_sexclf.interfaces.coverage import find_measured, share_covered
from bids_sexclf.interfaces.images import Quality
from bids_sexclf.quality import judge, read_limits, read_quality
from bids_sexclf.tables import read_table
from bids_sexclf.volumes import Grid, load, open_cohort, resample, save

LOW = 11
"""Slices below this were not measured."""


@pytest.fixture(scope="module")
def slab(write_derivatives, run_study, tmp_path_factory):
    """Write a cohort in which one T1w has no lower part; give the gathered study."""
    root = write_derivatives(tmp_path_factory.mktemp("slab"), n=8)
    out = root / "derivatives" / "out"
    path = out / layout.derivative("t1w_template", "sub-003", space="Phantom", res="7")
    values, affine = load(path)
    values[:, :, :LOW] = 0
    save(values, affine, path)
    covered = np.ones(values.shape, bool)
    covered[:, :, :LOW] = False
    save(covered, affine, out / layout.derivative("t1w_coverage", "sub-003", space="Phantom",
                                                  res="7"))  # fmt: skip
    desk = run_study(root, ["cohort"], maps=["T1w"], atlas="Lobes", region_means=True)
    return desk.folder, covered, affine


def test_voxels_not_measured_hold_the_mean_of_the_others(slab):
    folder, covered, whole = slab
    array = np.array(open_cohort(folder / "arrays" / "T1w.npy"))
    mask, affine = load(folder / "grid" / "mask.nii.gz")
    inside = mask > 0  # on a grid that is cut to the brain
    covered = resample(covered.astype(float), whole, Grid(mask.shape, affine), order=0) > 0.5
    gap, others = inside & ~covered, np.delete(array, 3, axis=0)
    assert gap.sum() > 1000
    np.testing.assert_allclose(array[3][gap], others[:, gap].mean(0), atol=1e-5)
    # The scale comes from what was measured, and there nothing is changed.
    assert array[3][inside & covered].mean() == pytest.approx(0, abs=1e-4)
    assert array[3][inside & covered].std() == pytest.approx(1, abs=1e-3)
    assert not array[:, ~inside].any()


def test_regions_that_were_not_measured_are_unknown(slab):
    folder, *_ = slab
    table = read_table(folder / "region_means.tsv", "region_means")
    own = table[table["participant_id"] == "sub-003"]
    unknown = own[own["mean"].isna()]
    assert 0 < len(unknown) < len(own) and (unknown["n_voxels"] == 0).all()
    assert unknown["name"].str.contains("inferior").all()
    assert table[table["participant_id"] != "sub-003"]["mean"].notna().all()


def test_gaps_are_filled_by_those_who_were_measured():
    array = np.arange(24, dtype=np.float32).reshape(4, 3, 2, 1)
    gap, everywhere = np.zeros((3, 2, 1), bool), array.copy()
    gap[0] = True
    fill_gaps(array, {0: gap, 1: np.zeros_like(gap), 2: gap}, left_out=[3])
    np.testing.assert_array_equal(array[0][gap], everywhere[1][gap])
    np.testing.assert_array_equal(array[2][gap], everywhere[1][gap])
    np.testing.assert_array_equal(array[:, 1:], everywhere[:, 1:])


# -- how much was measured -----------------------------------------------------------------------


def test_empty_slices_are_not_measured_and_empty_voxels_are():
    head = np.ones((6, 7, 8))
    head[:, :, :3] = 0
    head[2, 3, 5] = 0
    expected = np.zeros(head.shape, bool)
    expected[:, :, 3:] = True
    np.testing.assert_array_equal(find_measured(head), expected)
    assert share_covered(expected, np.ones(head.shape, bool)) == 5 / 8


def test_a_slab_and_unknown_sides_are_in_the_quality_file_and_at_the_gate(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    brain, slab = np.zeros((10, 10, 10)), np.zeros((10, 10, 10))
    brain[1:9, 1:9, :] = 1
    slab[:, :, :7] = 1
    for name, array in (("brain", brain), ("slab", slab)):
        save(array, np.eye(4), tmp_path / f"{name}.nii.gz")
    made = Quality(template_mask="brain.nii.gz", covered_dwi="slab.nii.gz",
                   covered_t1w="brain.nii.gz", facts={"orientation_known": 0.0})  # fmt: skip
    path = tmp_path / layout.derivative("quality", "sub-1")
    path.parent.mkdir()
    path.write_text(open(made.run().outputs.out_file).read())
    table, _ = read_quality(tmp_path)
    assert table["coverage_dwi"][0] == 0.7 and table["coverage_t1w"][0] == 1
    verdicts = judge(table, read_limits())
    assert verdicts.gate == ["refused"]
    assert "coverage_dwi 0.7, needed at least 0.85" in verdicts.reasons[0]
    assert "orientation_known 0, needed at least 1" in verdicts.reasons[0]
    ratings = {("sub-1", None): ("use", "")}
    assert judge(table, read_limits(), ratings).gate == ["accepted"]
