"""A bundle is read as it was written, or refused in words."""

import numpy as np
import pytest

from bids_sexclf.bundle import FOLDER, Bundle
from bids_sexclf.bundle.adjustment import Adjustment
from bids_sexclf.errors import InputError
from bids_sexclf.models.brain_size import Classifier as BrainSize
from bids_sexclf.settings import Study
from bids_sexclf.volumes import Grid


def small():
    """A bundle of a few numbers."""
    values = np.random.default_rng(0).normal(1200, 90, (20, 1))
    model = BrainSize(Study()).fit(values, np.arange(20) % 2, (values, np.arange(20) % 2), seed=1)
    effects = {"effects": np.ones((1, 2, 2, 2), np.float32)}
    adjustment = Adjustment(("age",), (), np.array([40.0]), np.array([9.0]), effects)
    arrays = {"mask": np.ones((2, 2, 2), np.uint8), "mean_FA": np.ones((2, 2, 2), np.float32)}
    grid = Grid((2, 2, 2), np.diag([2.0, 2, 2, 1]) / 3)
    return Bundle("brain_size", model, adjustment, {"FA": "units"}, grid, ("FA",), arrays=arrays)


def test_a_bundle_is_read_as_it_was_written(tmp_path):
    small().write(tmp_path / FOLDER)
    read = Bundle.read(tmp_path / FOLDER)
    assert read.maps == ("FA",) and read.grid.shape == (2, 2, 2)
    np.testing.assert_array_equal(read.grid.affine, small().grid.affine)
    for name, array in small().arrays.items():
        np.testing.assert_array_equal(read.arrays[name], array)
        assert read.arrays[name].dtype == array.dtype


def test_every_changed_file_is_refused_in_words(tmp_path):
    folder, rng = tmp_path / FOLDER, np.random.default_rng(1)
    small().write(folder)
    sound = {path: path.read_bytes() for path in folder.iterdir()}
    assert len(sound) == 5
    for path, whole in sound.items():
        for _ in range(40):
            content = bytearray(whole)
            content[rng.integers(len(content))] ^= 1 << rng.integers(8)
            path.write_bytes(content)
            try:
                assert Bundle.read(folder).maps == ("FA",)  # a blank between entries has changed
                assert path.name == "bundle.json"
            except InputError as fault:
                assert "--first fit" in str(fault) or "needed one of" in str(fault)
        path.unlink()
        with pytest.raises(InputError, match=path.name):
            Bundle.read(folder)
        path.write_bytes(whole)


def test_the_model_of_an_earlier_version_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(InputError, match="saved by an earlier version. Run again with --first fit"):
        Bundle.read(tmp_path / FOLDER)
