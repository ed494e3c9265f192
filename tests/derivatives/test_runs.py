import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bids_sexclf.derivatives import foreign, runs
from bids_sexclf.errors import InputError


def test_one_bright_voxel_is_in_focus_and_an_even_image_is_not():
    point = np.zeros((4, 4, 4))
    point[1, 2, 3] = 7
    assert runs.entropy_focus(point) == pytest.approx(0)
    assert runs.entropy_focus(np.full((4, 4, 4), 3.0)) == pytest.approx(1)


def test_focus_follows_its_formula_by_hand():
    # Two voxels of four hold the signal: shares 1/sqrt(2), entropy sqrt(2) ln sqrt(2), of 2 ln 2.
    expected = np.sqrt(2) * np.log(np.sqrt(2)) / (2 * np.log(2))
    assert runs.entropy_focus(np.array([5.0, 5, 0, 0])) == pytest.approx(expected)


def test_blur_and_ghosts_lose_against_the_sharp_run_whatever_the_gain():
    sharp = np.zeros((24, 24, 24))
    sharp[8:16, 8:16, 8:16] = np.random.default_rng(0).random((8, 8, 8)) + 1
    ghosts = sharp + 0.3 * np.roll(sharp, 8, axis=1)
    chosen, scores = runs.sharpest([gaussian_filter(sharp, 2), ghosts, 50 * sharp])
    assert chosen == 2 and scores[2] == pytest.approx(runs.entropy_focus(sharp))


def test_an_empty_run_is_refused():
    with pytest.raises(InputError, match="without any signal"):
        runs.entropy_focus(np.zeros((3, 3, 3)))


def test_each_run_keeps_its_own_gradients():
    first, second = np.eye(3), -np.eye(3)
    bvals, bvecs = runs.join_gradients([np.array([0, 1, 1]), np.array([0, 2, 2])], [first, second])
    assert bvals.tolist() == [0, 1, 1, 0, 2, 2]
    np.testing.assert_array_equal(bvecs, np.vstack([first, second]))
    with pytest.raises(InputError, match="as many of one"):
        runs.join_gradients([np.zeros(2)], [first])


def test_motion_is_read_from_qsiprep_and_from_eddy(tmp_path):
    table = tmp_path / "sub-1_desc-confounds_timeseries.tsv"
    table.write_text("trans_x\tframewise_displacement\n0\tn/a\n1\t0.5\n")
    assert foreign.read_motion(table)[0] == [0, 0.5]
    rms = tmp_path / "eddy_movement_rms"
    rms.write_text("0 0\n0.9 0.3\n1.2 0.4\n")
    assert foreign.read_motion(rms)[0] == [0, 0.3, 0.4]
    table.write_text("a\tb\n1\t2\n")
    with pytest.raises(InputError, match="framewise_displacement"):
        foreign.read_motion(table)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "framewise_displacement\nn/a\nfar\n",
            "text where .* needed .'far' is not a number",
        ),
        ("framewise_displacement\tx\nn/a\t1\nNA\t1\n", "of 1 of 2 volumes .the first is volume 2"),
        ("framewise_displacement\tx\n0\t1\n-1\t1\n", "needed a number of at least 0"),
        ("framewise_displacement\n", "without a column"),
        ("other\n1\n", "without a column"),
    ],
)
def test_motion_that_is_no_numbers_is_refused_in_words(tmp_path, content, words):
    path = tmp_path / "motion.tsv"
    path.write_text(content)
    with pytest.raises(InputError, match=words):
        foreign.read_motion(path)


@pytest.mark.parametrize("content", ["0 1\n0 far\n", "0 1\n0\n", "", "0 1\n0 inf\n"])
def test_motion_of_eddy_that_is_no_numbers_is_refused(tmp_path, content):
    path = tmp_path / "eddy_movement_rms"
    path.write_text(content)
    with pytest.raises(InputError, match="eddy_movement_rms"):
        foreign.read_motion(path)
