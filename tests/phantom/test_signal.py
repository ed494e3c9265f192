"""The signal of a phantom: what dipy reads from it is what was put in."""

import numpy as np
import pytest
from scipy.ndimage import center_of_mass

from bids_sexclf.phantom import signal
from bids_sexclf.phantom.anatomy import Tissues, rotation
from bids_sexclf.phantom.options import PhantomOptions
from bids_sexclf.phantom.population import draw_people

GRADIENTS = signal.make_gradients((1000, 2000), (30,), 3)


@pytest.mark.parametrize("fa", [0.0, 0.15, 0.45, 0.8])
def test_eigenvalues_have_the_asked_anisotropy(fa):
    a = signal.anisotropy_shape(fa)
    values = np.array([1 + 2 * a, 1 - a, 1 - a])
    found = np.sqrt(1.5 * ((values - values.mean()) ** 2).sum() / (values**2).sum())
    assert found == pytest.approx(fa)
    assert values.min() > 0


@pytest.mark.parametrize(
    ("fa", "md", "mk"), [(0.45, 0.75e-3, 0.9), (0.15, 0.85e-3, 0.6), (0.3, 0.7e-3, 0.8)]
)
def test_dipy_finds_the_fa_md_and_mk_that_were_put_in(fa, md, mk):
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dki import DiffusionKurtosisModel

    fibre = np.array([1.0, 2.0, -2.0]) / 3
    scan = [
        float(signal.diffusion_signal(b, g @ fibre, fa, md, mk))
        for b, g in zip(GRADIENTS.bvals, GRADIENTS.directions, strict=True)
    ]
    table = gradient_table(GRADIENTS.bvals, bvecs=GRADIENTS.directions)
    fit = DiffusionKurtosisModel(table).fit(1000 * np.array(scan)[None])
    assert fit.fa[0] == pytest.approx(fa, abs=1e-3)
    assert fit.md[0] == pytest.approx(md, rel=1e-3)
    assert fit.mk(min_kurtosis=-1, max_kurtosis=3)[0] == pytest.approx(mk, abs=5e-3)
    assert abs(fit.directions[0].ravel() @ fibre) == pytest.approx(1, abs=1e-4)


def test_signal_never_rises_with_b():
    curve = [signal.diffusion_signal(b, 1.0, 0.7, 1e-3, 1.2) for b in range(0, 6000, 50)]
    assert (np.diff(curve) <= 1e-12).all()


def test_gradients_are_unit_vectors_all_different_after_a_b0():
    bvals, directions = GRADIENTS.bvals, GRADIENTS.directions
    assert bvals[0] == 0
    assert sorted(bvals) == [0] * 3 + [1000] * 30 + [2000] * 30
    assert np.allclose(np.linalg.norm(directions, axis=1), bvals > 0)
    weighted = directions[bvals > 0]
    cosines = abs(weighted @ weighted.T) - np.eye(60)
    assert cosines.max() < np.cos(np.deg2rad(3))


def test_each_shell_may_have_its_own_number_of_directions():
    bvals = signal.make_gradients((500, 3000), (6, 20), 1).bvals
    assert [(bvals == b).sum() for b in (0, 500, 3000)] == [1, 6, 20]


@pytest.mark.parametrize(("first", "flip"), [(2.0, -1), (-2.0, 1)])
def test_bvecs_follow_fsl_in_either_handedness(first, flip):
    bvecs = GRADIENTS.fsl_bvecs(np.diag([first, 2, 2, 1]))
    assert np.allclose(bvecs[0], flip * GRADIENTS.directions[:, 0])
    assert np.allclose(bvecs[1:], GRADIENTS.directions[:, 1:].T)


def test_fibres_are_unit_vectors_that_turn_smoothly():
    place = np.stack(np.meshgrid(*[np.arange(-70, 71, 2.0)] * 3, indexing="ij"))
    fibres = signal.fibre_directions(place)
    assert np.allclose(np.linalg.norm(fibres, axis=0), 1)
    neighbours = abs((fibres[:, 1:] * fibres[:, :-1]).sum(0))
    assert neighbours.min() > np.cos(np.deg2rad(30))


def test_noise_alone_is_rayleigh_distributed():
    noise = signal.add_noise(np.zeros(200_000, np.float32), 2.0, np.random.default_rng(0))
    assert noise.min() >= 0
    # Mean and variance of the Rayleigh distribution.
    assert noise.mean() == pytest.approx(2 * np.sqrt(np.pi / 2), rel=0.01)
    assert noise.var() == pytest.approx((4 - np.pi) / 2 * 4, rel=0.02)


def test_without_noise_the_signal_stays():
    volume = np.linspace(0, 1, 50, dtype=np.float32)
    assert np.array_equal(signal.add_noise(volume, 0, np.random.default_rng(0)), volume)


def test_bias_stays_within_its_bounds_and_reaches_one():
    axes = [np.linspace(-80, 80, n) for n in (20, 25, 22)]
    bias = signal.draw_bias(axes, 0.2, np.random.default_rng(4))
    assert bias.max() <= 1.2 + 1e-6
    assert bias.min() >= 1 / 1.2 - 1e-6
    assert max(bias.max(), 1 / bias.min()) == pytest.approx(1.2, rel=1e-5)
    assert abs(np.diff(bias, axis=0)).max() < 0.1


def test_no_bias_is_exactly_one():
    axes = [np.linspace(-80, 80, 5)] * 3
    assert (signal.draw_bias(axes, 0.0, np.random.default_rng(4)) == 1).all()


def one_block():
    """Fill a cube of white matter in air."""
    shape = (12, 12, 12)
    white = np.zeros(shape, np.float32)
    white[5:7, 4:8, 5:7] = 1
    nothing, place = np.zeros(shape, np.float32), np.zeros((3, *shape), np.float32)
    labels = np.zeros(shape, np.int16)
    return Tissues(nothing, white, nothing, white, nothing, nothing, labels, place)


def test_only_the_labelled_lobe_brightens():
    tissues = one_block()
    labels = tissues.labels.copy()
    labels[5] = 3
    relative = np.ones(24)
    relative[2] = 1.25
    tissues = Tissues(**{**vars(tissues), "labels": labels})
    scan = signal.t1w_signal(tissues, relative)
    assert np.allclose(scan[5], 1.25 * tissues.white[5])
    assert np.allclose(scan[6], tissues.white[6])


def test_a_head_that_moves_takes_its_signal_along():
    person = draw_people(PhantomOptions(effect_size=0))[0]
    b0 = signal.make_gradients((1000,), (6,), 1)
    poses = [(np.eye(3), np.zeros(3))] * 6 + [(np.eye(3), np.array([1.5, 0, -1]))]
    scan = signal.dwi_signal(one_block(), person, b0, np.eye(3), poses)
    moved = np.subtract(center_of_mass(scan[..., 6]), center_of_mass(scan[..., 0]))
    assert np.allclose(moved, [1.5, 0, -1], atol=1e-3)


def test_a_head_that_turns_with_the_gradient_sees_no_difference():
    person = draw_people(PhantomOptions(effect_size=0))[0]
    turn = rotation([0, 0, 90])
    direction = np.array([0.6, 0.0, 0.8])
    still = signal.Gradients(np.array([1000.0]), direction[None])
    turned = signal.Gradients(np.array([1000.0]), (turn @ direction)[None])
    before = signal.dwi_signal(one_block(), person, still, np.eye(3))
    after = signal.dwi_signal(one_block(), person, turned, np.eye(3), [(turn, np.zeros(3))])
    assert np.allclose(np.rot90(before[..., 0], axes=(0, 1)), after[..., 0], atol=1e-5)
