"""Series of a session as one: two phase encodings, two shells, one fit."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation
from testing.distorted import distort, head, smooth_shift

from bids_sexclf.diffusion import fit_tensor
from bids_sexclf.diffusion.scheme import read_gradients
from bids_sexclf.distortion.fieldmaps import Correction
from bids_sexclf.participant.distortion import init_correction_wf
from bids_sexclf.participant.dwi import init_dwi_wf
from bids_sexclf.participant.pool import init_pooled_dwi_wf
from bids_sexclf.participant.series import Part
from bids_sexclf.settings import Preparation
from bids_sexclf.volumes import load, save

AFFINE = np.diag([-4.0, 4.0, 4.0, 1.0])
ALONG, NOISE = 1.7e-3, 40.0
CHOICES = {"denoise": "none", "gibbs": "none", "dwi_bias": "none", "dwi_alignment": "none"}
TURN = Rotation.from_rotvec(np.radians([2.0, -3.0, 4.0])).as_matrix()
MOVE = np.array([0.4, 0.0, -0.6])  # voxels; along the phase axis a move is one with the field
SCALE = 1.3
STILL, NONE = np.eye(3), np.zeros(3)


def across():
    """Make the diffusivity across the fibres, mm²/s: tracts of a few voxels."""
    texture = ndimage.gaussian_filter(np.random.default_rng(4).normal(size=head().shape), 1.5)
    return 0.7e-3 + 0.3e-3 * np.tanh(2 * texture / texture.std())


def true_fa():
    return (ALONG - across()) / np.sqrt(ALONG**2 + 2 * across() ** 2)


def directions(count, turn):
    """Wind directions around a half sphere."""
    height = (np.arange(count) + 0.5) / count
    angle = np.pi * (3 - np.sqrt(5)) * np.arange(count) + turn
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)


def move(volume, turn, shift):
    """Turn a volume about its middle and shift it, voxels."""
    middle = (np.array(volume.shape) - 1) / 2
    back = turn.T
    offset = middle - back @ (middle + shift)
    return ndimage.affine_transform(volume, back, offset, order=3, mode="nearest")


def write_series(folder, name, bvals, bvecs, sign, turn=STILL, shift=NONE, scale=1.0):
    """Write a series of a head whose fibres run every way."""
    rng = np.random.default_rng(len(name) + sign)
    s0, field = head(), move(smooth_shift(), turn, shift)
    fibres = np.random.default_rng(3).normal(size=(3, *s0.shape))
    fibres = np.stack([ndimage.gaussian_filter(part, 4) for part in fibres])
    fibres /= np.linalg.norm(fibres, axis=0)
    frames = []
    for bval, bvec in zip(bvals, bvecs, strict=True):
        cosine = np.tensordot(turn.T @ bvec, fibres, axes=1)
        weight = bval * (across() + (ALONG - across()) * cosine**2)
        volume = move(s0 * np.exp(-weight), turn, shift).clip(0)
        volume = distort(volume, sign * field, 1, fine=8) + NOISE * rng.normal(size=s0.shape)
        frames.append(np.abs(volume) * scale)
    save(np.stack(frames, -1), AFFINE, folder / f"{name}.nii.gz")
    np.savetxt(folder / f"{name}.bval", np.array(bvals)[None], fmt="%d")
    np.savetxt(folder / f"{name}.bvec", np.array(bvecs).T, fmt="%.6f")


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Write one head scanned in two phase encodings, moved and scaled in the second."""
    folder = tmp_path_factory.mktemp("scans")
    bvals = [0, 0, *[1000] * 10]
    vectors = [np.vstack([np.zeros((2, 3)), directions(10, turn)]) for turn in (0.0, 1.0)]
    write_series(folder, "ap", bvals, vectors[0], -1)
    write_series(folder, "pa", bvals, vectors[1], 1, TURN, MOVE, SCALE)
    write_series(folder, "b1", bvals, vectors[0], 0)
    write_series(folder, "b2", [0, *[2000] * 10], vectors[1][1:], 0, scale=SCALE)
    save(head() > 200, AFFINE, folder / "brain.nii.gz")
    return folder


def correct(folder, sign, other):
    """Choose the correction by the oppositely encoded series."""
    inputs = {"name": other, "path": str(folder / f"{other}.nii.gz"), "bval": None,
              "direction": "j-" if sign > 0 else "j", "readout": 0.05}  # fmt: skip
    inputs["bval"] = str(folder / f"{other}.bval")
    return Correction("opposite", "a test", 1, sign * 0.05, inputs)


def paths_of(folder, *names):
    ends = {"dwi": "nii.gz", "bval": "bval", "bvec": "bvec"}
    return {kind: [str(folder / f"{name}.{end}") for name in names] for kind, end in ends.items()}


def run(workflow, folder):
    """Run a workflow; return the outputs of a node by its name."""
    workflow.base_dir = str(folder)
    workflow.config["execution"] = {"crashdump_dir": str(folder), "poll_sleep_duration": "0.1"}
    nodes = {node.name: node for node in workflow.run(plugin="Linear").nodes()}
    return lambda name: nodes[name].result.outputs


def pool(scans, folder, names, parts, **choices):
    workflow = init_pooled_dwi_wf(
        files=paths_of(scans, *names),
        parts=parts,
        preparation=Preparation(**CHOICES | choices),
        sizes={"series_gb": [0.1] * len(names), "motion_gb": [0.1] * len(names)},
    )
    return run(workflow, folder)


@pytest.fixture(scope="module")
def pooled(scans, tmp_path_factory):
    """Pool both phase encodings."""
    encodings = ({"PhaseEncodingDirection": "j-"}, {"PhaseEncodingDirection": "j"})
    parts = [
        Part((0,), encodings[0], correct(scans, -1, "pa"), partner=1),
        Part((1,), encodings[1], correct(scans, 1, "ap"), partner=0),
    ]
    return pool(scans, tmp_path_factory.mktemp("pooled"), ("ap", "pa"), parts)


def fit(dwi, bval, bvec, brain):
    """Return the FA inside the brain."""
    return fit_tensor(load(dwi)[0], *read_gradients(bval, bvec), brain)["FA"][brain]


def inside(scans):
    return ndimage.binary_erosion(load(scans / "brain.nii.gz")[0] > 0, iterations=2)


def test_two_encodings_tell_more_than_one(scans, pooled, tmp_path):
    """Moved, scaled and distorted the other way, the second series still adds what it measured."""
    brain, made = inside(scans), pooled("pool")
    both = fit(made.dwi, made.bval, made.bvec, brain)
    series = paths_of(scans, "ap")
    preparation = Preparation(**CHOICES)
    alone_wf = init_dwi_wf(
        preparation=preparation,
        metadata={"PhaseEncodingDirection": "j-"},
        distortion_wf=init_correction_wf(correct(scans, -1, "pa"), preparation=preparation),
    )
    alone_wf.inputs.inputnode.trait_set(**{kind: own[0] for kind, own in series.items()})
    one = run(alone_wf, tmp_path)
    alone = fit(one("resample").out_file, series["bval"][0], one("estimate").bvec, brain)
    raw = fit(*(own[0] for own in series.values()), brain)
    errors = [np.abs(fa - true_fa()[brain]).mean() for fa in (both, alone, raw)]
    assert errors[0] < 0.9 * errors[1] < errors[1] < errors[2]


def test_the_parts_lie_in_one_place_on_one_scale(scans, pooled):
    brain, made = inside(scans), pooled("pool")
    data, affine = load(made.dwi)
    assert data.shape[3] == 24 and len(read_gradients(made.bval, made.bvec)[0]) == 24
    first, second = data[..., [0, 1]].mean(-1)[brain], data[..., [12, 13]].mean(-1)[brain]
    assert np.corrcoef(first, second)[0, 1] > 0.97
    assert np.median(second / first) == pytest.approx(1, abs=0.01)
    record = json.loads(Path(pooled("records").record).read_text())
    one, other = record["parts"]
    assert one["scales"] == [1.0] and one["moved_mm"] == 0
    assert other["scales"][0] == pytest.approx(1 / SCALE, rel=0.03)
    # A turn by an angle moves a sphere of 50 mm by 2 sin(angle / 2) 50 mm sqrt(2 / 5).
    angle = np.linalg.norm(Rotation.from_matrix(TURN).as_rotvec())
    turned = 2 * np.sin(angle / 2) * 50 * np.sqrt(2 / 5)
    expected = np.hypot(turned, 4 * np.linalg.norm(MOVE))
    assert other["moved_mm"] == pytest.approx(expected, abs=0.8)
    assert record["distortion_agreement_after"] > record["distortion_agreement_before"]
    moved = json.loads(Path(made.motion).read_text())["displacement_mm"]
    assert len(moved) == 24 and moved[0] == 0
    assert moved[12] == pytest.approx(other["moved_mm"], abs=1)


def test_gradients_turn_with_the_part(scans, pooled):
    turned = read_gradients(pooled("pool").bval, pooled("pool").bvec)[1][14:]
    truth = read_gradients(scans / "pa.bval", scans / "pa.bvec")[1][2:] @ TURN
    off = np.degrees(np.arccos(np.abs((turned * truth).sum(1)).clip(0, 1)))
    assert off.mean() < 1.5


def test_the_second_part_is_undistorted_by_the_field_of_the_first(scans, pooled):
    """One field was found; each part has the warp from the pooled series to what was scanned."""
    assert [Path(pooled(f"resample{n}").warp).exists() for n in (1, 2)] == [True, True]
    shift = smooth_shift()
    first = load(pooled("resample1").warp)[0].reshape(*shift.shape, 3)[..., 1]
    brain = inside(scans)
    # The field is in LPS: the second axis runs against the array's, 4 mm a voxel.
    assert np.abs(first[brain] / -4 + shift[brain]).mean() < 0.25


def test_shells_of_two_scans_give_kurtosis(scans, tmp_path):
    from bids_sexclf.diffusion.families import why_not

    made = pool(scans, tmp_path, ("b1", "b2"), [Part((0, 1))])("pool")
    bvals, bvecs = read_gradients(made.bval, made.bvec)
    assert why_not("tensor", bvals, bvecs) is None and set(bvals) == {0, 1000, 2000}
    data, _ = load(made.dwi)
    brain = inside(scans)
    low = data[..., [0, 1]].mean(-1)[brain]
    # Without the common scale, 2000 s/mm² would look like less diffusion.
    assert np.median(data[..., 12][brain] / low) == pytest.approx(1, abs=0.01)
    raw = load(scans / "b2.nii.gz")[0][..., 0][brain]
    assert np.median(raw / low) == pytest.approx(SCALE, abs=0.03)


def test_derivatives_tell_how_they_were_acquired_and_all_they_were_made_of(tmp_path):
    from bids_sexclf import layout
    from bids_sexclf.participant.outputs import WriteDerivatives

    save(np.ones((4, 4, 4, 2)), AFFINE, tmp_path / "dwi.nii.gz")
    save(np.ones((4, 4, 4)), AFFINE, tmp_path / "warp.nii.gz")
    (tmp_path / "quality.json").write_text("{}")
    series = [f"sub-01/dwi/sub-01_dir-{way}_dwi.nii.gz" for way in ("AP", "PA")]
    fieldmap = "bids:raw:sub-01/fmap/sub-01_dir-PA_epi.nii.gz"
    WriteDerivatives(
        out=str(tmp_path / "out"),
        participant_id="sub-01",
        sources={"dwi": ";".join(series)},
        correctors=[f"bids:raw:{series[1]}", fieldmap],
        acquisition={"dwi": {"EchoTime": 0.09, "Description": "not this"}},
        provenance=Preparation().provenance(),
        dwi=str(tmp_path / "dwi.nii.gz"),
        distortion_warps=[str(tmp_path / "warp.nii.gz")] * 2,
        quality=str(tmp_path / "quality.json"),
    ).run(cwd=str(tmp_path))
    path = tmp_path / "out" / layout.derivative("dwi_preproc", "sub-01")
    about = json.loads(layout.sidecar(path).read_text())
    assert about["EchoTime"] == 0.09 and about["Description"] == "Aligned diffusion volumes"
    assert about["Sources"] == [*(f"bids:raw:{name}" for name in series), fieldmap]
    found = layout.find_derivatives(tmp_path / "out", "distortion_warp_of_part")
    assert [entry["from_"] for entry in found] == ["distorted1", "distorted2"]
    assert not layout.find_derivatives(tmp_path / "out", "distortion_warp")


def test_fields_on_which_series_disagree_are_not_kept(tmp_path):
    from bids_sexclf.layout.sidecars import shared_fields

    one = {"EchoTime": 0.09, "PhaseEncodingDirection": "j", "PatientName": "x", "FlipAngle": 90}
    other = one | {"EchoTime": 0.090001, "PhaseEncodingDirection": "j-"}
    assert shared_fields([one, other]) == {"EchoTime": 0.09, "FlipAngle": 90}
    assert shared_fields([]) == {}


def test_two_encodings_of_a_real_head_agree_and_are_fitted_as_one(real_data, tmp_path):
    from bids_sexclf import layout
    from bids_sexclf.participant.series import plan_series

    dataset = layout.open_dataset(real_data / "scans")
    row = layout.find_scans(dataset, ["xa30"]).to_dict("records")[0]
    preparation = Preparation(**CHOICES)
    files = {kind: layout.paths(row[kind]) for kind in ("dwi", "bval", "bvec")}
    made = run(
        init_pooled_dwi_wf(
            files={k: [str(real_data / "scans" / name) for name in v] for k, v in files.items()},
            parts=plan_series(dataset, row, preparation)["parts"],
            preparation=preparation,
            sizes={"series_gb": [0.1, 0.1], "motion_gb": [0.1, 0.1]},
        ),
        tmp_path,
    )
    record = json.loads(Path(made("records").record).read_text())
    assert record["distortion_agreement_before"] < 0.75
    assert record["distortion_agreement_after"] > 0.99
    assert [part["volumes"] for part in record["parts"]] == [[21], [21]]
    assert record["parts"][1]["b0_agreement"] > 0.99
    assert record["parts"][1]["scales"][0] == pytest.approx(1, abs=0.02)
    data, mask = load(made("pool").dwi)[0], load(made("pool").mask)[0] > 0
    bvals, bvecs = read_gradients(made("pool").bval, made("pool").bvec)
    chosen = [slice(0, 42), slice(0, 21), slice(21, 42)]
    both, one, other = (fit_tensor(data[..., s], bvals[s], bvecs[s], mask) for s in chosen)
    agreed = [np.corrcoef(both["FA"][mask], half["FA"][mask])[0, 1] for half in (one, other)]
    # Neither denoised nor aligned here, for speed, and the mask holds fluid: noise there.
    halves = np.corrcoef(one["FA"][mask], other["FA"][mask])[0, 1]
    assert min(agreed) > 0.83 > halves
    # Noise makes isotropic voxels look anisotropic: more so where fewer volumes are fitted.
    medians = [np.median(maps["FA"][mask]) for maps in (both, one, other)]
    assert medians[0] < min(medians[1:])
    assert np.median(both["MD"][mask]) == pytest.approx(6.8e-4, rel=0.05)
