"""Processes started one per device: which one each is, and that they learn what forked ones do."""

import os
import socket
import time
from multiprocessing import get_context

import pytest
import torch
from testing.networks import make_network

from bids_sexclf.errors import InputError, ToolError
from bids_sexclf.settings import Study
from bids_sexclf.training import devices, loop, networks, nodes
from bids_sexclf.training.nodes import Seat

Classifier = networks.network(make_network)
BY_HAND = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29400", "NODE_RANK": "1", "LOCAL_RANK": "0"}
SLURM = {
    "SLURM_JOB_ID": "20123",
    "SLURM_JOB_NAME": "train",
    "SLURM_STEP_ID": "0",
    "SLURM_NODELIST": "n[3-4]",
    "SLURM_NNODES": "2",
    "SLURM_NTASKS": "4",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
}
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "1",
    "MASTER_ADDR": "n3",
    "MASTER_PORT": "29400",
    "GROUP_RANK": "1",
    "RANK": "3",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "4",
}


@pytest.fixture
def start(monkeypatch):
    """Give a function that sets what one launcher sets, and nothing of another."""

    def set_only(given):
        for name in list(os.environ):
            if name.startswith(("SLURM_", "TORCHELASTIC_")) or name in {*BY_HAND, *TORCHRUN}:
                monkeypatch.delenv(name)
        for name in ("MASTER_ADDR", "MASTER_PORT"):  # what is set on the way is undone
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
        for name, value in given.items():
            monkeypatch.setenv(name, value)

    return set_only


@pytest.mark.parametrize("given", [SLURM, TORCHRUN, BY_HAND | {"LOCAL_RANK": "1"}])
def test_each_launcher_tells_the_seat(start, given):
    start(given)
    assert nodes.take_seat(2, 2) == Seat(rank=3, local_rank=1, devices=2, num_nodes=2)
    assert os.environ["MASTER_ADDR"] == ("127.0.0.1" if "NODE_RANK" in given else "n3")
    assert os.environ["MASTER_PORT"] == ("15123" if "SLURM_JOB_ID" in given else "29400")


def test_without_nodes_a_slurm_job_is_as_any_machine(start, study):
    start(SLURM)
    place = loop.make_trainer(study, 2, logger=False).strategy.cluster_environment
    assert not place.creates_processes_externally and place.node_rank() == 0


@pytest.mark.parametrize(
    ("given", "asked", "told"),
    [
        ({}, (1, 2), "no MASTER_ADDR, MASTER_PORT, NODE_RANK, LOCAL_RANK; .*leave num_nodes out"),
        ({k: v for k, v in BY_HAND.items() if k != "NODE_RANK"}, (1, 2), "no NODE_RANK;"),
        (BY_HAND, (1, 1), "process 1 of 1"),
        (BY_HAND | {"WORLD_SIZE": "3"}, (1, 2), r"of 3.*devices 1 x num_nodes 2 = 2"),
        (SLURM, (2, 1), "num_nodes=1"),
        (SLURM, (4, 2), r"of 4.* devices 4 x num_nodes 2 = 8"),
        (SLURM | {"SLURM_JOB_NAME": "bash"}, (2, 2), "not named bash"),
        ({k: v for k, v in SLURM.items() if "STEP_ID" not in k}, (2, 2), "Put srun before"),
        ({k: v for k, v in SLURM.items() if "PER_NODE" not in k}, (2, 2), "--ntasks-per-node"),
        (TORCHRUN, (1, 2), r"of 4.*devices 1 x num_nodes 2 = 2"),
    ],
)
def test_other_processes_than_asked_for_are_refused(start, given, asked, told):
    start(given)
    with pytest.raises(InputError, match=told):
        nodes.take_seat(*asked)


def test_a_first_process_that_never_comes_is_named_by_its_address(start):
    start(BY_HAND | {"MASTER_PORT": str(free_port())})
    with pytest.raises(ToolError, match=r"process 1 to meet the others at 127\.0\.0\.1:"):
        nodes.meet(Seat(1, 0, 1, 2), patience=1)


@pytest.mark.parametrize(("n_nodes", "smallest"), [(2, 3), (4, 3)])
def test_every_process_needs_somebody_to_learn_from(n_nodes, smallest, tmp_path):
    if n_nodes <= smallest:
        devices.check_devices(1, tmp_path, smallest, n_nodes)
        return
    with pytest.raises(InputError, match=r"1 devices asked for on each of 4 machines.*num_nodes"):
        devices.check_devices(1, tmp_path, smallest, n_nodes)


# Training


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def train_one(rank, port, group, study, cohort, folder, until):
    """Be one of two machines; keep weights and history."""
    torch.set_num_threads(1)
    os.environ |= BY_HAND | {"NODE_RANK": str(rank), "MASTER_PORT": str(port)}
    seat = nodes.take_seat(1, 2)
    store = nodes.meet(seat)
    classifier = Classifier(study)
    classifier.devices = Seat(rank, 0, 1, 2, group)

    def kill(epoch, **entry):
        if epoch == until:
            os._exit(9)

    classifier.fit(*cohort[0], cohort[1], seed=0, folder=folder, progress=kill)
    made = {"state": classifier.module.state_dict(), "history": classifier.history}
    torch.save(made, folder / f"made-{rank}.pt")
    store.add("ended", 1)
    while rank == 0 and store.add("ended", 0) < 2:  # it holds the store
        time.sleep(0.05)


def train_two(study, cohort, folder, until=None):
    """Train on two machines that are this one; give what each has made, and the exit codes."""
    fork, port = get_context("fork"), free_port()
    folder.mkdir(exist_ok=True)
    workers = [
        fork.Process(target=train_one, args=(rank, port, "a", study, cohort, folder, until))
        for rank in (0, 1)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    made = [folder / f"made-{rank}.pt" for rank in (0, 1)]
    return [torch.load(path) for path in made if path.exists()], [w.exitcode for w in workers]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Sums of floats depend on how many threads share them; Lightning reads the variable."""
    threads = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def patient():
    """Batches of unequal size, and a patience that some epochs use up."""
    return Study(epochs=6, patience=3, batch_size=5, learning_rate=1e-2)


def forked(study, cohort, folder):
    classifier = Classifier(study)
    classifier.devices = 2
    return classifier.fit(*cohort[0], cohort[1], seed=0, folder=folder)


def assert_same(made, classifier):
    known = classifier.module.state_dict()
    assert made["history"] == classifier.history
    assert all(torch.equal(made["state"][key], known[key]) for key in known)


def test_two_machines_learn_to_the_last_bit_what_two_devices_do(patient, small_cohort, tmp_path):
    train, (volumes, target) = small_cohort
    cohort = (train, (volumes, 1 - target))  # all wrong: patience ends it
    made, codes = train_two(patient, cohort, tmp_path / "two")
    assert codes == [0, 0]
    assert_same(made[0], forked(patient, cohort, tmp_path / "one"))
    # Norms are not synchronised here, yet all stop in one epoch: the first one judges.
    assert len(made[0]["history"]) < patient.epochs
    assert made[1]["history"] == made[0]["history"]
    assert not list((tmp_path / "two").glob("*.ckpt"))


def test_two_machines_that_were_killed_go_on_to_the_same_weights(patient, small_cohort, tmp_path):
    _, codes = train_two(patient, small_cohort, tmp_path / "two", until=1)
    assert 9 in codes and (tmp_path / "two" / "last.ckpt").exists()
    made, codes = train_two(patient, small_cohort, tmp_path / "two")
    assert codes == [0, 0]
    assert_same(made[0], forked(patient, small_cohort, tmp_path / "one"))
