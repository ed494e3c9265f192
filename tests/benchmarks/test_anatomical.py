"""What the comparison of registrations counts."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "anatomical.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("anatomical", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_agreement_is_the_mean_over_shared_regions_whatever_their_size(script):
    first = np.array([1, 1, 1, 1, 2, 2, 0, 7])
    other = np.array([1, 1, 1, 1, 2, 0, 2, 0])
    # Region 1 agrees in all of four voxels, region 2 in one of two, region 7 is not shared.
    assert script.agreement(first, other) == pytest.approx((1 + 0.5) / 2)
    assert script.agreement(first, other, by_size=True) == pytest.approx((8 * 1 + 4 * 0.5) / 12)
    assert script.agreement(other, first) == script.agreement(first, other)


def test_masks_overlap_by_twice_what_they_share(script):
    first, other = np.arange(10) < 4, (np.arange(10) > 1) & (np.arange(10) < 8)
    assert script.overlap(first, other) == pytest.approx(2 * 2 / (4 + 6))
    assert script.overlap(first, ~first) == 0


def test_what_was_done_is_not_done_again(script, tmp_path):
    task = {"recipe": "n4", "threads": 2, "folder": str(tmp_path), "scan": "does not exist"}
    with pytest.raises(subprocess.CalledProcessError):
        script.child(task | {"template": "none", "templates_dir": str(tmp_path)})
    kept = {"scan": "kept.nii.gz", "clock": 1.0, "processor": 2.0}
    (tmp_path / "n4-2.json").write_text(json.dumps(kept))
    assert script.child(task) == kept


def test_it_says_what_it_needs():
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True)
    assert done.returncode == 2 and "labels" in done.stderr
