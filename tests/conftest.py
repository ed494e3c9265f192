"""Fixtures that several rooms share."""

import os
from pathlib import Path

import pytest

# As the programs set it: with several threads ANTs sums in another order each time.
os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")


@pytest.fixture(scope="session")
def real_data():
    """Give the folder of real scans, or skip."""
    folder = Path(os.environ.get("BIDS_SEXCLF_TEST_DATA", "../shared/data"))
    if not folder.is_dir():
        pytest.skip(f"no real scans in {folder}; name their folder by BIDS_SEXCLF_TEST_DATA")
    return folder.resolve()
