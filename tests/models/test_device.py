"""What a network's computing takes from its surroundings, and gives back."""

import platform

import numpy as np
import psutil
import pytest
import torch

from bids_sexclf.models import _device, cnn3
from bids_sexclf.settings import Study

LARGE = 2**28
"""Bytes."""


def resident():
    return psutil.Process().memory_info().rss


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a feature of glibc")
@pytest.mark.skipif(_device.device().type != "cpu", reason="a card has memory of its own")
def test_memory_is_kept_while_a_network_computes_and_then_given_back():
    before = resident()
    with pytest.raises(RuntimeError), _device.keeping_memory():
        for _ in range(2):
            activations = torch.ones(LARGE // 4)
            del activations
        assert resident() > before + 0.9 * LARGE
        raise RuntimeError
    assert resident() < before + 0.1 * LARGE
    activations = torch.ones(LARGE // 4)
    del activations
    assert resident() < before + 0.1 * LARGE


def test_where_there_is_no_glibc_nothing_changes(monkeypatch):
    monkeypatch.setattr(_device.ctypes, "CDLL", lambda name: object())
    with _device.keeping_memory():
        pass


def test_kept_memory_changes_no_bit(monkeypatch):
    volumes = np.random.default_rng(0).standard_normal((8, 22, 22, 22), np.float32)
    target, found = np.arange(8) % 2, []
    for kept in (True, False):
        if not kept:
            monkeypatch.setattr(_device.ctypes, "CDLL", lambda name: object())
        classifier = cnn3.Classifier(Study(epochs=2, batch_size=4))
        classifier.fit(volumes, target, (volumes[:2], target[:2]), seed=0)
        found.append(classifier.evidence(volumes))
    np.testing.assert_array_equal(*found)
