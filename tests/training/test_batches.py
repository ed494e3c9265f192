"""Reading: who is read when, and that it changes no answer."""

import numpy as np
import pytest
import torch

from bids_sexclf import models
from bids_sexclf.settings import Study
from bids_sexclf.training import batches
from bids_sexclf.training.evidence import answer
from bids_sexclf.volumes import Channels, Rows, new_cohort, open_cohort

GRID = (22, 24, 23)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    path = tmp_path_factory.mktemp("cohort") / "map.npy"
    with new_cohort(path, (11, *GRID)) as array:
        array[:] = np.random.default_rng(0).standard_normal(array.shape)
    rows, target = Rows(open_cohort(path), range(11)), np.arange(11) % 2
    classifier = models.make(Study(epochs=1), "cnn3")
    return classifier.fit(rows, target, (rows, target), seed=0), rows


@pytest.mark.parametrize("size", [1, 4])
def test_in_batches_of_one_size_no_answer_depends_on_the_others(fitted, size):
    classifier, rows = fitted
    device = torch.device("cpu")
    together = answer(classifier.module, rows, size, device)
    order = np.random.default_rng(1).permutation(11)
    shuffled = answer(classifier.module, rows[order], size, device)
    np.testing.assert_array_equal(shuffled, together[order])
    alone = [answer(classifier.module, rows[[row]], size, device)[0] for row in range(11)]
    np.testing.assert_array_equal(alone, together)


def test_sizes_follow_from_grid_and_machine_alone():
    processor, card = torch.device("cpu"), torch.device("cuda")
    assert batches.choose_size((500, 60, 72, 60), processor) == 1
    sizes = {batches.choose_size((n, 60, 72, 60), card) for n in (1, 3, 500)}
    assert sizes == {batches.TOGETHER}
    assert batches.choose_size((500, 182, 218, 182), card) == 1


@pytest.mark.parametrize("size", [1, 3, 11, 20])
@pytest.mark.parametrize("kind", ["rows", "array", "channels"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_volume_is_read_once_and_in_order(fitted, size, kind, device):
    rows = {"rows": fitted[1], "array": fitted[1][:], "channels": Channels([fitted[1]] * 2)}[kind]
    read = list(batches.read_ahead(rows, size, torch.device(device)))
    assert all(len(one) == size for one in read)
    np.testing.assert_array_equal(np.concatenate(read)[:11], rows[np.arange(11)])


def test_beside_a_processor_no_thread_reads(fitted, monkeypatch):
    def refuse(*_):
        raise AssertionError("a thread was started")

    monkeypatch.setattr(batches, "ThreadPoolExecutor", refuse)
    assert len(list(batches.read_ahead(fitted[1], 1, torch.device("cpu")))) == 11
    with pytest.raises(AssertionError, match="a thread"):
        list(batches.read_ahead(fitted[1], 1, torch.device("cuda")))


def test_nobody_is_no_fault(fitted):
    assert fitted[0].evidence(np.zeros((0, *GRID), np.float32)).shape == (0,)


def test_processes_read_ahead_for_large_batches_on_a_graphics_card_only():
    def workers(grid, device, batch=8):
        part = batches.Part(np.broadcast_to(np.float32(0), (16, *grid)), np.zeros(16))
        return batches.choose_workers(part, batch, torch.device(device))

    assert workers((160, 192, 160), "cpu") == 0
    assert workers((36, 44, 36), "cuda") == 0


def test_processes_leave_one_processor_to_the_computing(monkeypatch):
    part = batches.Part(np.broadcast_to(np.float32(0), (16, 160, 192, 160)), np.zeros(16))
    for held, expected in ((1, 0), (2, 1), (16, 4)):
        monkeypatch.setattr("bids_sexclf.execute.processors", lambda held=held: held)
        assert batches.choose_workers(part, 8, torch.device("cuda")) == expected
