"""The control is the study's first network under a name of its own."""

import pytest

from bids_sexclf import models
from bids_sexclf.models import shuffled
from bids_sexclf.settings import Study


@pytest.mark.parametrize("names", [["cnn3"], ["brain_size", "cnn3"], ["shuffled"]])
def test_design_is_the_studys_first_model_or_cnn3(names):
    network = shuffled.Classifier(Study(models=names)).network
    assert isinstance(network, models.find("cnn3").Classifier)
    assert network.design == "shuffled-cnn3"
