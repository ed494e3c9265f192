"""A network is one file: another one, in a folder of a user, runs through a whole study."""

import numpy as np
import pytest

from bids_sexclf import models
from bids_sexclf.bundle import Bundle
from bids_sexclf.report.methods import write_methods
from bids_sexclf.settings import Study
from bids_sexclf.volumes import Rows, open_cohort

ENTRY = '''
"""A linear network on averages of boxes."""

from torch import nn

from bids_sexclf.training import networks

READS, SOURCE, GRIDS = "volumes", "(Doe et al. 2026, submitted)", "from 12 voxels"


def build(grid=(36, 44, 36), side=12, channels=1, outputs=2):
    size = channels
    for length in grid:
        size *= length // side
    layers = nn.AvgPool3d(side), nn.Flatten(), nn.Linear(size, outputs)
    return nn.Sequential(*layers)


Classifier = networks.network(build)
'''


@pytest.fixture(scope="module")
def added(tmp_path_factory):
    """Put a network into a folder of its own, and add that to the catalogue."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "boxes.py").write_text(ENTRY)
    models.__path__.append(str(folder))
    yield
    models.__path__.remove(str(folder))


@pytest.fixture(scope="module")
def studied(added, write_derivatives, run_study, tmp_path_factory):
    """Run a study of the network, and of a variant of it, to the report."""
    root = write_derivatives(tmp_path_factory.mktemp("boxes"), n=12, effect=8.0)
    return run_study(
        root,
        models=["coarse", "boxes"],
        baselines=["brain_size", "shuffled"],
        variants={"coarse": {"design": "boxes", "side": 16, "random_seed": 7}},
        fills=["white_matter_mean"],
        n_folds=2,
        epochs=2,
        bootstraps=100,
        permutations=100,
    )


def test_it_is_trained_asked_about_and_reported(studied):
    names = {"coarse", "boxes", "brain_size", "shuffled"}
    assert set(studied.read("scores")["model"]) == names
    assert set(studied.read("regions")["model"]) == {"coarse", "boxes"}
    assert studied.read("history").query("model == 'boxes'")["epoch"].max() == 1
    page = (studied.folder / "report.html").read_text()
    assert "boxes (Doe et al. 2026, submitted)" in page
    assert "Networks were trained with Adam" in page


def test_its_bundle_answers_as_the_study_did(studied):
    tested = studied.read("predictions").query("model == 'boxes' and fold == 1 and part == 'test'")
    rows = studied.read("cohort").reset_index().set_index("participant_id")["index"]
    bundle = Bundle.read(studied.folder / "models" / "boxes_T1w" / "repeat-1_fold-1" / "bundle")
    array = open_cohort(studied.folder / "arrays" / "T1w.npy")
    evidence = bundle.evidence(Rows(array, rows[tested["participant_id"]].to_numpy()))
    np.testing.assert_array_equal(evidence, tested["evidence"])


def test_the_control_of_a_new_network_is_loaded_as_such(studied):
    folder = studied.folder / "models" / "shuffled_T1w" / "repeat-1_fold-1" / "bundle"
    bundle = Bundle.read(folder)
    assert bundle.entry == "shuffled"
    assert bundle.classifier.network.design == "shuffled-boxes"


def test_it_needs_no_word_anywhere_else(added):
    text = write_methods(Study(models=["boxes"]))
    assert "Models: boxes (Doe et al. 2026, submitted)." in text
