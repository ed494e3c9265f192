"""Saved classifiers and foreign weights whose bytes have changed: refused, in words."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bids_sexclf.errors import InputError
from bids_sexclf.training import cards, weight_files
from bids_sexclf.volumes import open_cohort


@pytest.fixture
def saved(tmp_path):
    (tmp_path / "weights.bin").write_bytes(bytes(range(200)))
    content = {"state": [1.25, 2.5], "options": {"size": (3, 4)}}
    cards.write_card(tmp_path, "ridge", content, ["weights.bin"])
    return tmp_path


def test_a_card_is_read_as_it_was_saved(saved):
    card = cards.read_card(saved, "ridge")
    assert card["state"] == [1.25, 2.5] and card["options"]["size"] == [3, 4]


@pytest.mark.parametrize("name", ["weights.bin", "model.json"])
def test_a_flipped_bit_is_refused(saved, name):
    rng, whole = np.random.default_rng(1), (saved / name).read_bytes()
    for _ in range(150):
        content = bytearray(whole)
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        (saved / name).write_bytes(content)
        try:
            card = cards.read_card(saved, "ridge")
        except InputError as fault:
            assert "--first fit" in str(fault) or "needed 'ridge'" in str(fault)
        else:  # a blank of the layout has changed, and no value
            assert name == "model.json" and card["state"] == [1.25, 2.5]


def test_missing_weights_are_named(saved):
    (saved / "weights.bin").unlink()
    with pytest.raises(InputError, match=r"weights\.bin.*--first fit"):
        cards.read_card(saved, "ridge")


def test_a_card_without_digest_is_refused(saved):
    card = json.loads((saved / "model.json").read_text())
    del card["digest"]
    (saved / "model.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match="--first fit"):
        cards.read_card(saved, "ridge")


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
def test_foreign_weights_that_are_damaged_never_end_in_a_traceback(tmp_path, name):
    state = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.ones(3)}
    path = tmp_path / name
    (save_file if name == "a.safetensors" else torch.save)(state, path)
    rng, whole = np.random.default_rng(2), path.read_bytes()
    for number in range(120):
        content = bytearray(whole)
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(content[: rng.integers(len(content))] if number % 4 == 0 else content)
        try:
            read = weight_files.read(path)
        except InputError as fault:
            assert str(path) in str(fault)
        else:
            assert all(torch.isfinite(value).all() for value in read.values())


def test_weights_with_a_digest_beside_them_are_held_to_it(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"a.weight": torch.ones(3)}, path)
    weight_files.write_digest(path)
    assert weight_files.read(path)["a.weight"].tolist() == [1, 1, 1]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="other content than a.safetensors.sha256 tells"):
        weight_files.read(path)


def test_damaged_headers_of_cohort_arrays_are_refused(tmp_path):
    path, rng = tmp_path / "a.npy", np.random.default_rng(3)
    array = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
    np.save(path, array)
    whole = path.read_bytes()
    for _ in range(400):
        content = bytearray(whole)
        content[rng.integers(128)] = rng.integers(256)
        path.write_bytes(content)
        try:
            read = open_cohort(path)
        except InputError as fault:
            assert "--first cohort" in str(fault)
        else:
            assert np.array_equal(read, array)
