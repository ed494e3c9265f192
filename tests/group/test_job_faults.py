"""A fault that all jobs of a stage share is told with the exit code of its kind."""

import pytest

from bids_sexclf.errors import NO_MEMORY, SYSTEM, InputError, ToolError
from bids_sexclf.faults import explain
from bids_sexclf.group._faults import check_results
from bids_sexclf.group._jobs import Job
from bids_sexclf.settings import Study

FULL = OSError(28, "No space left on device", "/out/model.pt")
JOBS = [Job(None, None, Study(), "cnn3", "T1w", 1, fold) for fold in (1, 2)]


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([FULL, FULL], SYSTEM),
        ([FULL, None], SYSTEM),
        ([MemoryError("9 GB"), MemoryError("9 GB")], NO_MEMORY),
        ([InputError("Found a."), InputError("Found b.")], InputError.exit_code),
        ([InputError("Found a."), FULL], ToolError.exit_code),
    ],
)
def test_faults_keep_the_exit_code_that_they_share(results, code):
    with pytest.raises((ValueError, RuntimeError)) as caught:
        check_results(JOBS, results, "fits")
    told = explain(caught.value)
    assert told.exit_code == code and "of 2 fits failed" in told.message
