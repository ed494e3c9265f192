import json
from pathlib import Path

import numpy as np
import pytest

from bids_sexclf.interfaces.denoise import Degibbs, Denoise
from bids_sexclf.volumes import load, save


def write(folder, count):
    """Write a head-like ball of known signal, with noise of SD 10."""
    place = np.stack(np.meshgrid(*[np.linspace(-1, 1, 16)] * 3, indexing="ij"))
    inside = (place**2).sum(0) < 0.7
    weights = np.linspace(0, 2, count)
    truth = inside[..., None] * 400 * np.exp(-weights * (0.5 + 0.4 * place[0][..., None]))
    noise = np.random.default_rng(0).normal(0, 10, truth.shape)
    affine = np.diag([4.0, 4, 4, 1])
    save(np.abs(truth + noise).astype(np.float32), affine, folder / "dwi.nii.gz")
    np.savetxt(folder / "dwi.bval", [1000 * weights])
    np.savetxt(folder / "dwi.bvec", np.zeros((3, count)))
    paths = {"in_file": "dwi.nii.gz", "bval": "dwi.bval", "bvec": "dwi.bvec"}
    return {key: str(folder / name) for key, name in paths.items()}, truth, inside


@pytest.mark.parametrize("method", ["mppca", "patch2self"])
def test_noise_falls_and_is_told(tmp_path, method):
    given, truth, inside = write(tmp_path, 24)
    out = Denoise(**given, method=method).run(cwd=str(tmp_path)).outputs
    before, after = (load(path)[0] - truth for path in (given["in_file"], out.out_file))
    assert after[inside].std() < 0.7 * before[inside].std()
    record = json.loads(Path(out.record).read_text())
    assert record["denoise"] == {"method": method}
    assert record["noise_sd"] == pytest.approx(10, rel=0.2)
    removed = load(given["in_file"])[0] - load(out.out_file)[0]
    np.testing.assert_allclose(
        load(out.residual)[0], np.sqrt((removed**2).mean(-1)), rtol=1e-3, atol=1e-3
    )


def test_too_few_volumes_are_handed_on_with_the_reason(tmp_path):
    given, _, _ = write(tmp_path, 7)
    out = Denoise(**given).run(cwd=str(tmp_path)).outputs
    np.testing.assert_array_equal(load(out.out_file)[0], load(given["in_file"])[0])
    record = json.loads(Path(out.record).read_text())["denoise"]
    assert record["method"] == "none" and "7 volumes" in record["reason"]


@pytest.mark.parametrize(("axis", "engine"), [(0, "native"), (2, "native"), (1, "dipy")])
def test_ringing_falls_inside_slices_along_any_axis(tmp_path, axis, engine):
    square = np.zeros((96, 96))
    square[30:66, 30:66] = 100
    kept = np.zeros((96, 96))
    kept[32:64, 32:64] = 1  # a third of k-space, as a scanner acquires
    spectrum = np.fft.fftshift(np.fft.fft2(square)) * kept
    ringing = np.abs(np.fft.ifft2(np.fft.ifftshift(spectrum[32:64, 32:64]))) / 9
    truth = square.reshape(32, 3, 32, 3).mean(axis=(1, 3))
    series = np.stack([np.stack([ringing] * 8, axis=axis)] * 2, axis=-1)
    save(series.astype(np.float32), np.eye(4), tmp_path / "in.nii.gz")
    given = {"slice_axis": axis, "partial_fourier": 0.75, "engine": engine, "threads": 2}
    node = Degibbs(in_file=str(tmp_path / "in.nii.gz"), **given)
    out = node.run(cwd=str(tmp_path)).outputs
    clean = load(out.out_file)[0][..., 1].take(4, axis=axis)
    flat = np.zeros((32, 32), bool)
    flat[13:19, 13:19] = flat[2:6] = True
    assert (clean - truth)[flat].std() < 0.5 * (ringing - truth)[flat].std()
    record = json.loads(Path(out.record).read_text())["gibbs"]
    assert record["method"] == engine
    assert record["slice_axis"] == "ijk"[axis] and "in part only" in record["caveat"]
