import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation
from testing.distorted import distort, head, smooth_shift

from bids_sexclf.distortion import fieldmaps
from bids_sexclf.distortion.opposite import Scan, estimate_shift, unwarp_second
from bids_sexclf.errors import InputError

FOUND = {
    "name": "sub-1_dwi.nii.gz",
    "direction": "j-",
    "axis": "j-",
    "readout": 0.05,
    "inputs": {
        "opposite": {"name": "epi", "path": "e", "bval": None, "direction": "j", "readout": 0.05},
        "fieldmap": {"name": "phasediff", "kind": "phasediff"},
    },
}


def found(**other):
    return FOUND | other


def without(*kinds, **other):
    inputs = {k: (None if k in kinds else v) for k, v in FOUND["inputs"].items()}
    return FOUND | {"inputs": inputs} | other


# -- choice -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scans", "t1w", "topup", "method"),
    [
        (found(), True, True, "topup"),
        (found(), True, False, "opposite"),
        (without("opposite"), True, True, "fieldmap"),
        (without("opposite", "fieldmap"), True, True, "none"),
        (found(readout=None), True, False, "opposite"),
        (without("opposite", readout=None), True, False, "none"),
        (found(direction=None, axis="j"), True, True, "none"),
        (found(direction=None, axis=None), True, True, "none"),
    ],
)
def test_auto_takes_the_first_method_that_the_scans_allow(scans, t1w, topup, method):
    chosen = fieldmaps.choose("auto", scans, t1w=t1w, topup=topup)
    assert chosen.method == method and chosen.why


@pytest.mark.parametrize(
    ("asked", "scans", "word"),
    [
        ("topup", found(), "no FSL topup"),
        ("opposite", without("opposite"), "oppositely encoded"),
        ("fieldmap", without("fieldmap"), "no field map"),
        ("fieldmap", found(readout=None), "TotalReadoutTime"),
        ("opposite", found(direction=None, axis="j"), "PhaseEncodingDirection"),
        ("t1w", found(), "no T1w"),
    ],
)
def test_a_method_asked_for_by_name_says_what_it_lacks(asked, scans, word):
    with pytest.raises(InputError, match=word) as fault:
        fieldmaps.choose(asked, scans, t1w=False, topup=False)
    assert "needed" in str(fault.value) and "sub-1_dwi" in str(fault.value)


def test_the_sign_of_the_direction_is_that_of_the_readout():
    forth = fieldmaps.choose("fieldmap", found(direction="j"), t1w=True, topup=False)
    back = fieldmaps.choose("fieldmap", found(), t1w=True, topup=False)
    assert (forth.axis, forth.readout) == (1, 0.05) and (back.axis, back.readout) == (1, -0.05)


# -- signs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["j", "j-", "i", "i-", "k"])
def test_a_blob_moves_back_to_where_it_was(direction):
    axis, sign = fieldmaps.read_encoding(direction)
    shape, hertz, readout = (20, 22, 18), 60.0, 0.05
    blob = np.zeros(shape)
    blob[9:12, 9:12, 8:11] = 1
    # By definition of the sidecar's direction: a positive offset moves signal to higher indices
    # with 'j', to lower ones with 'j-'.
    shown = np.roll(blob, int(hertz * readout) * sign, axis)
    shift = np.full(shape, hertz * readout * sign)
    np.testing.assert_allclose(fieldmaps.unwarp(shown, shift, axis), blob, atol=1e-12)


AFFINES = {
    "RAS": np.diag([2.0, 2.0, 2.0, 1.0]),
    "LAS": np.diag([-2.0, 2.0, 2.0, 1.0]),
    "LPS": np.diag([-2.0, -2.5, 3.0, 1.0]),
    "oblique": np.block(
        [
            [Rotation.from_euler("xyz", [20, -30, 15], degrees=True).as_matrix() * 2.0,
             np.array([[5.0], [-7.0], [3.0]])],
            [np.zeros((1, 3)), np.ones((1, 1))],
        ]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("direction", ["j", "j-", "i"])
def test_the_warp_that_ants_applies_does_what_the_shift_says(name, direction, tmp_path):
    import ants

    from bids_sexclf.interfaces.ants import to_ants
    from bids_sexclf.volumes import save_field

    axis, sign = fieldmaps.read_encoding(direction)
    volume, shift = head(3), sign * smooth_shift(2)
    affine = AFFINES[name]
    field = fieldmaps.displacement_field(shift, affine, axis)
    save_field(field, affine, tmp_path / "warp.nii.gz")
    image = to_ants(volume, affine)
    by_ants = ants.apply_transforms(image, image, [str(tmp_path / "warp.nii.gz")]).numpy()
    ours = fieldmaps.unwarp(volume, shift, axis) / fieldmaps.jacobian(shift, axis)
    inside = (slice(4, -4),) * 3
    np.testing.assert_allclose(by_ants[inside], ours[inside], atol=0.5)  # of 1000


def test_unwarping_keeps_the_signal_of_a_line():
    volume, shift = head(), smooth_shift()
    back = fieldmaps.unwarp(distort(volume, shift, 1), shift, 1)
    inside = volume > 200
    assert np.abs(back - volume)[inside].mean() < 0.05 * volume[inside].mean()
    unmodulated = back / fieldmaps.jacobian(shift, 1)
    assert np.abs(back - volume).mean() < 0.7 * np.abs(unmodulated - volume).mean()


# -- phase --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", ["radians", "0 to 4095", "-4096 to 4094"])
def test_phases_are_scaled_from_what_scanners_store(stored):
    truth = np.linspace(-3.1, 3.1, 1000)
    raw = {
        "radians": truth,
        "0 to 4095": np.round((truth + np.pi) / (2 * np.pi) * 4096).clip(0, 4095),
        "-4096 to 4094": np.round(truth / np.pi * 2048).clip(-2048, 2047) * 2,
    }[stored]
    np.testing.assert_allclose(fieldmaps.to_radians(raw), truth, atol=0.002)


def test_a_wrapped_field_is_recovered_in_hertz():
    hertz = smooth_shift(4, largest=1.0) * 400  # up to a whole turn either way
    mask = ndimage.binary_erosion(head() > 100)
    delay = 0.00246
    wrapped = np.angle(np.exp(2j * np.pi * hertz * delay))
    assert np.abs(wrapped - 2 * np.pi * hertz * delay)[mask].max() > 1
    np.testing.assert_allclose(
        fieldmaps.phase_to_hertz(wrapped, mask, delay)[mask], hertz[mask], atol=1e-6
    )


def test_a_smoothed_field_keeps_its_slope_inside_and_goes_on_outside():
    grid = np.indices((30, 30, 30)).astype(float)
    mask = ((grid - 15) ** 2).sum(0) < 100
    smooth = fieldmaps.smooth_field(np.where(mask, 5 * grid[1], 0), mask, (2, 2, 2))
    core = ndimage.binary_erosion(mask, iterations=3)
    assert np.abs(smooth - 5 * grid[1])[core].max() < 1
    edge = ndimage.binary_dilation(mask) & ~mask
    assert np.abs(smooth - 5 * grid[1])[edge].max() < 12
    assert np.isfinite(smooth).all() and smooth.min() > 20 and smooth.max() < 130


def test_information_is_shared_by_inverted_contrast_and_not_by_noise():
    volume = head()
    mask = volume > 300
    noise = np.random.default_rng(0).normal(size=volume.shape)
    assert fieldmaps.shared_information(volume, -volume, mask) > 0.99
    assert fieldmaps.shared_information(volume, noise, mask) < 0.1


# -- opposite encodings -------------------------------------------------------------------------


@pytest.mark.parametrize(("axis", "sign"), [(1, 1), (1, -1), (0, 1)])
def test_a_known_field_is_found_from_two_encodings(axis, sign):
    """Within a tenth of a voxel on average, where fields shift signal by up to 2.5 voxels."""
    volume, shift, affine = head(), smooth_shift(), np.diag([-4.0, 4.0, 4.0, 1.0])
    one, other = (distort(volume, s * sign * shift, axis) for s in (1, -1))
    first, second = Scan(one, affine, axis, sign * 0.05), Scan(other, affine, axis, -sign * 0.05)
    found, motion = estimate_shift(first, second)
    inside = volume > 300
    error = np.abs(found - sign * shift)[inside]
    assert error.mean() < 0.1 and np.percentile(error, 95) < 0.3
    np.testing.assert_allclose(motion, np.eye(4), atol=0.25)
    pair = fieldmaps.unwarp(one, found, axis), unwarp_second(first, second, found, motion)
    agreed = [np.corrcoef(a[inside], b[inside])[0, 1] for a, b in ((one, other), pair)]
    assert agreed[1] > 0.99 > 0.9 > agreed[0]


def test_motion_readout_and_grid_of_the_second_scan_are_accounted_for():
    volume, shift, affine = head(), smooth_shift(largest=1.5), np.diag([4.0, 4.0, 4.0, 1.0])
    first = Scan(distort(volume, shift, 1), affine, 1, 0.04)
    # The head turns by three degrees and slides, and is then scanned with twice the readout on an
    # array whose phase axis runs the other way: the same sign of the readout is now opposite.
    turn, middle = Rotation.from_euler("z", 3, degrees=True).as_matrix(), np.array(volume.shape) / 2
    slide = np.array([0.5, 0.0, -0.4])

    def moved(array):
        back = turn.T
        return ndimage.affine_transform(array, back, middle - back @ (middle + slide), order=3)

    scanned = distort(moved(volume), -2 * moved(shift), 1)[:, ::-1]
    flip = np.diag([1.0, -1.0, 1.0, 1.0])
    flip[1, 3] = volume.shape[1] - 1
    second = Scan(scanned, affine @ flip, 1, 0.08)
    found, motion = estimate_shift(first, second)
    inside = volume > 300
    assert np.abs(found - shift)[inside].mean() < 0.15
    truth = np.eye(4)
    truth[:3, :3] = turn
    truth[:3, 3] = 4 * (middle + slide - turn @ middle)
    points = np.argwhere(inside)[::50] * 4.0
    error = points @ (motion - truth)[:3, :3].T + (motion - truth)[:3, 3]
    # Along the phase axis, motion and field cannot be told apart; across it they can.
    assert np.abs(error[:, [0, 2]]).mean() < 1.0  # a quarter of a voxel


def test_two_scans_of_one_direction_are_refused():
    scan = Scan(head(), np.eye(4), 1, 0.05)
    with pytest.raises(InputError, match="opposite directions"):
        estimate_shift(scan, scan)
