"""What a network's computing takes from its surroundings, and gives back."""

import platform
import subprocess
import sys

import numpy as np
import pytest
import torch

from bids_sexclf.models import cnn3
from bids_sexclf.settings import Study
from bids_sexclf.training import devices

MEASURE = """
import psutil, torch
from bids_sexclf.training import devices

def compute():
    activations = torch.ones(2**26)
    del activations
    return psutil.Process().memory_info().rss / 2**28

compute()
before = compute()
try:
    with devices.keeping_memory():
        kept = compute()
        raise RuntimeError
except RuntimeError:
    print(kept - before, psutil.Process().memory_info().rss / 2**28 - before)
"""
"""Say how many times 256 MiB, which a tensor takes, stay in memory once the tensor is gone."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a feature of glibc")
@pytest.mark.skipif(devices.device().type != "cpu", reason="a card has memory of its own")
def test_memory_is_kept_while_a_network_computes_and_then_given_back():
    # In a process of its own: what others have freed before may stand ready for the tensor.
    command = [sys.executable, "-c", MEASURE]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    kept, afterwards = map(float, told.split())
    assert kept == pytest.approx(1, abs=0.1) and afterwards == pytest.approx(0, abs=0.1)


class Library:
    """A C library that knows some functions, and notes their calls."""

    def __init__(self, *names):
        self.calls = []
        for name in names:
            setattr(self, name, lambda *values, name=name: self.calls.append((name, *values)))


@pytest.mark.parametrize(
    ("names", "asked"), [((), False), (("mallopt",), False), (("mallopt", "malloc_trim"), True)]
)
def test_only_glibc_is_asked_to_keep_memory_and_gets_its_limits_back(monkeypatch, names, asked):
    library = Library(*names)
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(devices, "device", lambda: torch.device("cpu"))
    with devices.keeping_memory():
        meanwhile = list(library.calls)
    afterwards = library.calls[len(meanwhile) :]
    assert bool(meanwhile) == asked
    if asked:
        assert {limit for _, limit, _ in meanwhile} <= set(devices.BEFORE)
        limits = {limit: value for _, limit, value in afterwards[:-1]}
        assert limits == devices.BEFORE and afterwards[-1] == ("malloc_trim", 0)
    else:
        assert afterwards == []


def test_kept_memory_changes_no_bit(monkeypatch):
    volumes = np.random.default_rng(0).standard_normal((8, 22, 22, 22), np.float32)
    target, found = np.arange(8) % 2, []
    for kept in (True, False):
        if not kept:
            monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: object())
        classifier = cnn3.Classifier(Study(epochs=2, batch_size=4))
        classifier.fit(volumes, target, (volumes[:2], target[:2]), seed=0)
        found.append(classifier.evidence(volumes))
    np.testing.assert_array_equal(*found)
