"""The network on shuffled sexes: same network, same counts of each sex, no knowledge."""

import numpy as np
import pytest

from bids_sexclf import models
from bids_sexclf.models import shuffled
from bids_sexclf.settings import Study


class Recorder:
    """Stands where the network stands and keeps what it is given."""

    def fit(self, inputs, target, validation, *, seed, folder, progress):
        self.given = target, validation[1]


@pytest.fixture
def recorded():
    def fit(seed, n=40):
        target = np.repeat([0, 1], n // 2)
        classifier = shuffled.Classifier(Study())
        classifier.network = Recorder()
        classifier.fit(np.zeros((n, 1)), target, (None, target[::4]), seed=seed)
        return target, classifier.network.given

    return fit


def test_each_part_keeps_its_number_of_each_sex(recorded):
    target, (train, validation) = recorded(0)
    assert train.sum() == 20 and len(train) == 40
    assert validation.sum() == 5 and len(validation) == 10
    assert (train != target).any()


def test_sexes_given_are_independent_of_the_true_ones(recorded):
    agreement = [
        np.mean(np.equal(*pair))
        for pair in ((target, given[0]) for target, given in map(recorded, range(400)))
    ]
    # A permutation of 20 and 20: agreement has mean 1/2 and SD 1 / (2 sqrt(39)).
    assert abs(np.mean(agreement) - 0.5) < 4 * 0.5 / np.sqrt(39 * 400)


def test_same_seed_deals_the_same_sexes(recorded):
    one, same, other = (recorded(seed)[1][0].tolist() for seed in (5, 5, 6))
    assert one == same != other


@pytest.mark.parametrize("names", [["cnn3"], ["brain_size", "cnn3"], ["shuffled"]])
def test_design_is_the_studys_first_model_or_cnn3(names):
    network = shuffled.Classifier(Study(models=names)).network
    assert isinstance(network, models.find("cnn3").Classifier)
    assert network.design == "shuffled-cnn3"


def test_dealt_ages_are_those_of_the_training_part_and_do_not_go_with_the_true_ones():
    for seed in range(20):
        draw = np.random.default_rng(seed)
        ages = draw.uniform(20, 80, 60)
        dealt = shuffled._permute(ages, draw)
        assert sorted(dealt) == sorted(ages) and abs(np.corrcoef(ages, dealt)[0, 1]) < 0.02
