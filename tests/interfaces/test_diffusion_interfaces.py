import json
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import affine_transform, gaussian_filter
from scipy.spatial.transform import Rotation

from bids_sexclf.errors import InputError
from bids_sexclf.interfaces import diffusion as shell
from bids_sexclf.interfaces.ants import to_ants
from bids_sexclf.motion.geometry import image_axes, image_centre, rotation_part, turn_gradients
from bids_sexclf.motion.resample import distorted_places, read_displacements, resample_volume
from bids_sexclf.volumes import load, open_series, save


def test_gradients_are_read_in_rows_and_in_columns(tmp_path):
    bvecs = np.vstack([np.full(3, np.nan), np.eye(3)])
    np.savetxt(tmp_path / "a.bval", [[0, 1000, 1000, 1000]])
    for name, table in (("rows", bvecs.T), ("columns", bvecs)):
        np.savetxt(tmp_path / name, table)
        bvals, read = shell.read_gradients(tmp_path / "a.bval", tmp_path / name)
        np.testing.assert_array_equal(read, np.nan_to_num(bvecs))
        assert bvals.tolist() == [0, 1000, 1000, 1000]


@pytest.fixture(scope="module")
def moved_head(tmp_path_factory):
    """Write a synthetic head's series in which volumes are turned by up to five degrees."""
    from bids_sexclf.phantom import anatomy, population, signal
    from bids_sexclf.phantom.options import PhantomOptions
    from bids_sexclf.phantom.template import make_head

    folder = tmp_path_factory.mktemp("moved")
    options = PhantomOptions(participants=2, seed=2, shells=(1000,), b0s=2, dwi_resolution=5)
    person, head = population.draw_people(options)[0], make_head()
    body = anatomy.draw_body(options, person, head)
    shape, affine = anatomy.scan_grid(5, body.oblique)
    fine, _ = anatomy.scan_grid(2.5, body.oblique)
    tissues = anatomy.scan_tissues(head, body, fine, 2.5)
    gradients = signal.make_gradients(options.shells, options.directions, options.b0s)
    rng, count = np.random.default_rng(1), len(gradients.bvals)
    turns = Rotation.from_rotvec(np.radians(rng.uniform(-3, 3, (count, 3)))).as_matrix()
    turns[0] = np.eye(3)
    stretches = np.repeat(np.eye(3)[None], count, axis=0)
    stretches[gradients.bvals > 0, 1] += rng.uniform(-0.01, 0.01, (count - 2, 3))
    clean = np.empty((*shape, count), np.float32)
    for index in range(count):
        one = signal.Gradients(gradients.bvals[[index]], gradients.directions[[index]])
        pose = [(turns[index], None)]
        volume = signal.dwi_signal(tissues, person, one, body.pose, pose)[..., 0]
        back = np.linalg.inv(stretches[index] @ turns[index]) * 2
        offset = (np.array(fine) - 1) / 2 - back @ ((np.array(shape) - 1) / 2)
        clean[..., index] = affine_transform(volume, back, offset, shape, order=3)
    noisy = signal.add_noise(np.maximum(clean, 0), 0.02, rng)
    save(noisy * 500, affine, folder / "dwi.nii.gz")
    np.savetxt(folder / "dwi.bval", [gradients.bvals], fmt="%d")
    np.savetxt(folder / "dwi.bvec", gradients.fsl_bvecs(affine), fmt="%.6f")
    paths = {name: str(folder / f"dwi.{name}") for name in ("bval", "bvec")}
    return (
        paths
        | {"in_file": str(folder / "dwi.nii.gz"), "turns": turns, "affine": affine}
        | {
            "linear": stretches @ turns,
            "centre": image_centre(shape, affine),
        }
    )


def estimate(moved_head, folder, **choices):
    """Run the estimate; give transforms, turned b-vectors and displacements."""
    given = {key: moved_head[key] for key in ("in_file", "bval", "bvec")}
    node = shell.EstimateMotion(**given, **choices)
    out = node.run(cwd=str(folder)).outputs
    moved = json.loads(Path(out.motion).read_text())["displacement_mm"]
    return np.array(json.loads(Path(out.matrices).read_text())), np.loadtxt(out.bvec).T, moved


@pytest.fixture(scope="module")
def found(moved_head, tmp_path_factory):
    folder = tmp_path_factory.mktemp("found")
    return estimate(moved_head, folder, axis=1)


def angle(first, second):
    """Give the angle in degrees between two rotations."""
    cosine = (np.trace(first.T @ second) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def test_imposed_motion_is_found_beside_eddy_currents(moved_head, found):
    matrices, _, moved = found
    axes, centre = image_axes(moved_head["affine"]), moved_head["centre"]
    points = np.random.default_rng(0).normal(size=(500, 3))
    points *= 50 / np.linalg.norm(points, axis=1, keepdims=True)

    def places(linear, shift):
        return points @ linear.T + shift

    far, errors = [], []
    for matrix, linear in zip(matrices, moved_head["linear"], strict=True):
        truth = places(axes @ linear @ axes.T, 0)
        shift = matrix[:3, :3] @ centre + matrix[:3, 3] - centre
        far.append(np.linalg.norm(truth - points, axis=1).mean())
        errors.append(np.linalg.norm(truth - places(matrix[:3, :3], shift), axis=1).mean())
    # Voxels of 5 mm: a fifth of one at most, and at most a third of what was imposed.
    assert np.mean(errors[1:]) < min(1.0, np.mean(far[1:]) / 3)
    # A turn by an angle about the middle moves the sphere by 2 sin(angle / 2) 50 mm sqrt(2 / 5).
    steps = [
        angle(a, b) for a, b in zip(moved_head["turns"], moved_head["turns"][1:], strict=False)
    ]
    expected = [2 * np.sin(np.radians(step) / 2) * 50 * np.sqrt(2 / 5) for step in steps]
    assert np.corrcoef(moved[1:], expected)[0, 1] > 0.9


def test_gradients_turn_with_the_known_rotation_of_the_head(moved_head, found):
    given = np.loadtxt(moved_head["bvec"]).T
    axes = image_axes(moved_head["affine"])
    turns = np.stack([axes @ turn @ axes.T for turn in moved_head["turns"]])
    truth = turn_gradients(given, turns, moved_head["affine"])
    weighted = np.linalg.norm(given, axis=1) > 0

    def off(bvecs):
        return np.degrees(np.arccos(np.clip(np.abs((bvecs * truth).sum(1)[weighted]), 0, 1)))

    assert off(given).mean() > 1.5
    assert off(found[1]).mean() < 0.5


def test_threads_change_no_number(moved_head, tmp_path):
    results = []
    for threads in (1, 3):
        folder = tmp_path / str(threads)
        folder.mkdir()
        results.append(estimate(moved_head, folder, axis=1, sloppy=True, threads=threads)[0])
    np.testing.assert_array_equal(*results)


def test_a_series_left_alone_stays_where_it_is(moved_head, tmp_path):
    matrices, bvecs, moved = estimate(moved_head, tmp_path, kind="none")
    np.testing.assert_array_equal(matrices, np.repeat(np.eye(4)[None], len(matrices), axis=0))
    np.testing.assert_allclose(bvecs, np.loadtxt(moved_head["bvec"]).T, atol=1e-6)
    assert not any(moved)


def test_the_lone_b0_may_come_anywhere(moved_head, tmp_path):
    data, affine = load(moved_head["in_file"])
    bvals, bvecs = shell.read_gradients(moved_head["bval"], moved_head["bvec"])
    order = np.r_[1:5, 0, 5 : len(bvals)]
    order = order[(bvals[order] > 50) | (order == 0)]
    save(data[..., order], affine, tmp_path / "dwi.nii.gz")
    # A b0 that the scanner calls 5, not 0.
    np.savetxt(tmp_path / "dwi.bval", [np.where(order == 0, 5, bvals[order])], fmt="%d")
    np.savetxt(tmp_path / "dwi.bvec", bvecs[order].T)
    given = {"in_file": "dwi.nii.gz", "bval": "dwi.bval", "bvec": "dwi.bvec"}
    given = {key: str(tmp_path / name) for key, name in given.items()}
    matrices, _, _ = estimate(given, tmp_path, axis=1, sloppy=True)
    np.testing.assert_array_equal(matrices[4], np.eye(4))
    axes = image_axes(affine)
    truth = [axes @ moved_head["turns"][i] @ axes.T for i in order]
    errors = [angle(rotation_part(m[:3, :3]), t) for m, t in zip(matrices, truth, strict=True)]
    assert np.mean(errors) < 1.0


def test_gradients_of_another_series_are_refused(moved_head, tmp_path):
    (tmp_path / "short.bval").write_text("0 1000\n")
    given = moved_head | {"bval": str(tmp_path / "short.bval")}
    with pytest.raises(InputError, match="b-values .* needed one of each per volume"):
        estimate(given, tmp_path)


def test_a_single_volume_is_no_series(tmp_path):
    save(np.ones((9, 9, 9), np.float32), np.eye(4), tmp_path / "dwi.nii.gz")
    with pytest.raises(InputError, match="four dimensions"):
        open_series(tmp_path / "dwi.nii.gz")


def resample(folder, data, affine, **given):
    """Run the resampling of a series of which the first volume is a b0."""
    save(data, affine, folder / "in.nii.gz")
    save(np.ones(data.shape[:3], bool), affine, folder / "mask.nii.gz")
    np.savetxt(folder / "in.bval", [np.r_[0, np.full(data.shape[3] - 1, 1000)]])
    paths = {"in_file": "in.nii.gz", "mask": "mask.nii.gz", "bval": "in.bval"}
    node = shell.ResampleSeries(**{k: str(folder / v) for k, v in paths.items()}, **given)
    return node.run(cwd=str(folder)).outputs


def test_nothing_to_correct_changes_no_voxel(tmp_path):
    data = np.random.default_rng(0).random((9, 8, 7, 3)).astype(np.float32)
    affine = np.diag([-2.0, 2, 3, 1])
    out = resample(tmp_path, data, affine)
    again, same = load(out.out_file)
    np.testing.assert_array_equal(again, data)
    np.testing.assert_allclose(same, affine)
    np.testing.assert_array_equal(load(out.b0)[0], data[..., 0])


def test_what_a_moving_head_takes_out_of_the_field_of_view_is_not_masked(tmp_path):
    data = np.ones((9, 8, 7, 20), np.float32)
    matrices = np.repeat(np.eye(4)[None], 20, axis=0)
    matrices[3, 0, 3] = 40  # a single volume counts for nothing
    matrices[10:, 2, 3] = -1.8  # half of them lost the lowest slice of 3 mm
    (tmp_path / "m.json").write_text(json.dumps(matrices.tolist()))
    affine = np.diag([2.0, 2, 3, 1])
    out = resample(tmp_path, data, affine, matrices=str(tmp_path / "m.json"))
    mask = load(out.mask)[0] > 0
    assert not mask[:, :, 0].any() and mask[:, :, 1:].all()
    assert not load(out.b0_brain)[0][~mask].any()


def test_warp_and_motion_are_one_interpolation_in_the_right_order(tmp_path):
    """A field of x² cannot commute with a shift: the closed form tells the order."""
    import nibabel as nib

    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = (-20, 5, 7)
    places = np.moveaxis(np.indices((16, 16, 16)), 0, -1) * 2.0 + affine[:3, 3]

    def scene(points):
        return 50 + points[..., 1] + 0.02 * points[..., 0] * points[..., 1]

    data = np.repeat(scene(places)[..., None], 2, axis=-1).astype(np.float32)
    warp = np.zeros((16, 16, 16, 1, 3), np.float32)
    warp[..., 0, 1] = -(0.004 * (places[..., 1] - 5) ** 2)  # LPS: minus is forwards
    nib.save(nib.Nifti1Image(warp, affine), tmp_path / "warp.nii.gz")
    matrices = np.repeat(np.eye(4)[None], 2, axis=0)
    matrices[1, :2, 3] = (1.5, -2)
    (tmp_path / "m.json").write_text(json.dumps(matrices.tolist()))
    given = {"warp": str(tmp_path / "warp.nii.gz"), "matrices": str(tmp_path / "m.json")}
    out = load(resample(tmp_path, data, affine, **given).out_file)[0]
    bent = places + [0, 1, 0] * (0.004 * (places[..., 1:2] - 5) ** 2)
    inner = np.s_[4:12, 4:12, 4:12]
    np.testing.assert_allclose(out[..., 0][inner], scene(bent)[inner], rtol=1e-3)
    np.testing.assert_allclose(out[..., 1][inner], scene(bent + [1.5, -2, 0])[inner], rtol=1e-3)


def test_our_reading_of_a_warp_is_that_of_ants(tmp_path):
    import ants
    import nibabel as nib

    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [5, -8, 12], degrees=True).as_matrix() * 2
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(size=(20, 18, 16, 3)), (3, 3, 3, 0)) * 60
    header = nib.Nifti1Image(smooth[:, :, :, None].astype(np.float32), affine)
    header.header.set_intent("vector")
    nib.save(header, tmp_path / "warp.nii.gz")
    volume = gaussian_filter(rng.random((20, 18, 16)), 2).astype(np.float32)
    image = to_ants(volume, affine)
    theirs = ants.apply_transforms(image, image, [str(tmp_path / "warp.nii.gz")], "bSpline").numpy()
    field = read_displacements(tmp_path / "warp.nii.gz")
    ours = resample_volume(volume, affine, np.eye(4), distorted_places(volume.shape, affine, field))
    inner = np.s_[5:15, 5:13, 5:11]
    off = np.median(np.abs(ours - theirs)[inner])
    assert off < 0.05 * np.median(np.abs(volume - theirs)[inner])


def test_a_bias_field_is_found_and_divided_out(tmp_path):
    rng = np.random.default_rng(0)
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, 32)] * 3, indexing="ij")
    inside = x**2 + y**2 + z**2 < 0.8
    field = np.exp(0.4 * x + 0.2 * y * z)
    tissue = np.where(rng.random(x.shape) < 0.5, 100, 130) * inside
    affine = np.diag([4.0, 4, 4, 1])
    save((tissue * field).astype(np.float32), affine, tmp_path / "b0.nii.gz")
    save(inside, affine, tmp_path / "brain.nii.gz")
    node = shell.FindBias(in_file=str(tmp_path / "b0.nii.gz"), mask=str(tmp_path / "brain.nii.gz"))
    bias = node.run(cwd=str(tmp_path)).outputs.out_file
    left = np.log(field / load(bias)[0])[inside]
    assert left.std() < 0.3 * np.log(field)[inside].std()
    data = np.repeat((tissue * field)[..., None], 2, axis=-1).astype(np.float32)
    out = load(resample(tmp_path, data, affine, bias=bias).out_file)[0]
    np.testing.assert_allclose(out[..., 1], data[..., 1] / load(bias)[0], rtol=1e-5)
