"""Small phantoms that several tests look at."""

import pytest

from bids_sexclf.phantom.dataset import write_dataset
from bids_sexclf.phantom.options import PhantomOptions
from bids_sexclf.phantom.template import make_head


@pytest.fixture(scope="session")
def head():
    return make_head()


@pytest.fixture(scope="session")
def cohort(tmp_path_factory):
    """Sixteen heads without bias and noise: what is in the images is what was planted."""
    options = PhantomOptions(
        participants=16, seed=3, dwi=False, resolution=5, noise=0, bias=0, twins=2
    )
    return write_dataset(tmp_path_factory.mktemp("cohort") / "bids", options), options


@pytest.fixture(scope="session")
def scanned():
    """Give the options of a small dataset with diffusion scans."""
    return PhantomOptions(
        participants=2,
        seed=5,
        sites=2,
        resolution=6,
        dwi_resolution=5,
        noise=0.002,
        bias=0.1,
        effect_map="MK",
    )


@pytest.fixture(scope="session")
def scanned_dataset(tmp_path_factory, scanned):
    return write_dataset(tmp_path_factory.mktemp("scanned") / "bids", scanned)


@pytest.fixture(scope="session")
def faulty_dataset(tmp_path_factory):
    options = PhantomOptions(participants=4, seed=1, faulty=1, resolution=8, dwi_resolution=8)
    return write_dataset(tmp_path_factory.mktemp("faulty") / "bids", options)
