"""What the comparison of training speed counts, and that what it compares is the same."""

import importlib.util
import mmap
from pathlib import Path

import numpy as np
import pytest

from bids_sexclf.models import cnn3
from bids_sexclf.settings import Study
from bids_sexclf.volumes import Rows, open_cohort

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "training.py"
GRID = (22, 22, 22)


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("training", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_contestants_take_turns_and_the_least_counts(script):
    order, seconds = [], {"a": [5.0, 1.0, 2.0], "b": [3.0, 9.0, 4.0]}

    def contestant(name):
        def run():
            order.append(name)
            return seconds[name].pop(0), 1.0

        return run

    found = script.take_turns({name: contestant(name) for name in "ab"}, 3)
    assert order == list("ababab")
    assert found == {"a": (1.0, 1.0), "b": (3.0, 1.0)}


def test_ratios_above_one_say_that_ours_is_faster(script):
    lines = script.tabulate("net", {"ours": (2.0, 4.0), "other": (3.0, 2.0)}, 6)
    assert lines[0] == "| net | ours | 3 | 1.000 | 0.6667 | 1.000 |"
    assert lines[1] == "| net | other | 2 | 1.500 | 0.3333 | 0.500 |"


def test_array_and_files_hold_the_same_volumes(script, tmp_path):
    path, scans, maps = script.write_cohort(tmp_path, 3, GRID)
    rows, data = Rows(open_cohort(path), np.arange(3)), script.make_scans(scans, [0, 1, 0], GRID)
    finer = script.make_scans(maps, [0, 1, 0], GRID)
    assert len(data) == len(rows) == 3
    for row in range(3):
        volume, target = data[row]
        expected = (rows[row] - rows[row].mean()) / rows[row].std()
        np.testing.assert_allclose(volume[0].numpy(), expected, atol=1e-5)
        assert target == row % 2
        brought, _ = finer[row]
        assert brought.shape == volume.shape
        assert np.corrcoef(brought.ravel(), volume.ravel())[0, 1] > 0.95
    assert not np.array_equal(rows[0], rows[1])


def test_the_real_training_is_timed_epoch_by_epoch(script, tmp_path):
    path, *_ = script.write_cohort(tmp_path, 4, GRID)
    rows, target = Rows(open_cohort(path), np.arange(4)), np.arange(4) % 2
    classifier = cnn3.Classifier(Study(epochs=2, patience=2, batch_size=2))
    wall, used = script.time_ours(classifier, rows, target)
    assert 0 < wall < 60 and 0 < used < 60
    assert len(classifier.history) == 2


@pytest.mark.parametrize("contestant", ["ours", "bare loop", "NIfTI, 0 workers", "maps, 2 workers"])
def test_every_contestant_trains_on_the_same_cohort(script, tmp_path, contestant):
    script.write_cohort(tmp_path, 4, GRID)
    wall, used = script.contest(contestant, "cnn3", GRID, 2, 2, tmp_path)
    assert 0 < wall < 60 and 0 < used < 60


def test_plain_loops_learn(script):
    import torch

    torch.manual_seed(0)
    step = script.make_step("cnn3", GRID, Study())
    network = step.__closure__[[*step.__code__.co_freevars].index("network")].cell_contents
    before = [weights.detach().clone() for weights in network.parameters()]
    script.time_bare(step, GRID, 2, 1)
    assert any(
        not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True)
    )


def test_pages_of_a_mapped_file_count_as_memory(script, tmp_path):
    path, before = tmp_path / "sparse", script.largest_resident()
    with open(path, "wb") as file:
        file.truncate(2**30)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as held:
        sum(held[start] for start in range(0, 2**30, mmap.PAGESIZE))
    assert script.largest_resident() > max(before, 1000)
