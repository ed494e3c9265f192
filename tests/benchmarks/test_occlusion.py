"""What the benchmark of hidden regions counts, on few cohorts."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "occlusion.py"


@pytest.fixture(scope="module")
def occlusion():
    spec = importlib.util.spec_from_file_location("occlusion", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_shortcut_hides_regions_as_the_package_does(occlusion):
    occlusion.check_shortcut()


def test_unequal_sexes_and_a_distant_fill_name_nothing_by_the_claim(
    occlusion,
):
    case = occlusion.NULLS["60/40, fill 4 SD off"]
    judged = [occlusion.judge(case, "linear", seed) for seed in range(30)]
    # At a rate of 5 %, more than five of thirty come in 3 of 1000 tests.
    assert sum(bool(one["claim"]) for one in judged) <= 5
    assert np.mean([len(one["published"]) for one in judged]) > 2 * 0.05 * occlusion.REGIONS


def test_a_planted_region_is_named_and_no_other(occlusion):
    case = occlusion.PLANTED["one region"]
    judged = [occlusion.judge(case, "linear", seed) for seed in range(10)]
    assert sum(0 in one["claim"] for one in judged) >= 9
    assert sum(bool(one["claim"] - {0}) for one in judged) <= 3
