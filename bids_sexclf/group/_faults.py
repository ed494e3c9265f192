"""Report failures: each cause once, with all jobs that it concerns."""

from contextlib import contextmanager

from bids_sexclf.errors import REFUSALS, ToolError
from bids_sexclf.faults import explain
from bids_sexclf.words import name_pair, say_list


def check_results(jobs, results, noun):
    """Return the results of jobs, or raise one error for all failures.

    Parameters
    ----------
    jobs : list of Job
    results : list
        One per job; exceptions where jobs failed.
    noun : str
        What the jobs are, for the message: ``"fits"``.

    Returns
    -------
    list

    Raises
    ------
    ToolError, InputError, GridError or LeakageError
        The common kind of all faults; a ToolError if they have no common kind.
    RuntimeError
        If a fault is in the program.
    """
    pairs = zip(jobs, results, strict=True)
    struck = [(job, result) for job, result in pairs if isinstance(result, Exception)]
    if not struck:
        return results
    message = (
        f"Found {len(struck)} of {len(jobs)} {noun} failed ({_tell(struck, name_jobs)}); "
        "needed all. The others are kept: mend the cause and run again."
    )
    for _, fault in struck:
        if explain(fault) is None:
            raise RuntimeError(message) from fault
    raise shared_kind(fault for _, fault in struck)(message)


@contextmanager
def gather_faults(noun):
    """Attempt several checks, and raise one error for all failures at the end.

    Parameters
    ----------
    noun : str
        What is refused, for the message.

    Yields
    ------
    callable
        Called as ``attempt(name, function, *arguments)``; an error is recorded under the name.

    Raises
    ------
    ToolError, InputError, GridError or LeakageError
        As for `check_results`.
    """
    struck = []

    def attempt(name, function, *arguments):
        try:
            function(*arguments)
        except REFUSALS as fault:
            struck.append((name, fault))

    yield attempt
    if struck:
        raise shared_kind(fault for _, fault in struck)(
            f"Found {len(dict(struck))} {noun} ({_tell(struck, say_list)}); needed all. Mend the "
            "cause and run again."
        )


def _tell(struck, name):
    """Return each cause once, after the names of all jobs that it concerns."""
    causes = {}
    for one, fault in struck:
        explained = explain(fault)
        words = explained.message if explained else f"{type(fault).__name__}: {fault}"
        causes.setdefault(words, []).append(one)
    return "; ".join(f"{name(places)}: {cause}" for cause, places in causes.items())


def shared_kind(faults):
    """Return the common class of faults among the errors of the package.

    Parameters
    ----------
    faults : iterable of Exception

    Returns
    -------
    type
        One of ``errors.REFUSALS``, also for faults of the system with the same exit code;
        ToolError if there is none.

    Examples
    --------
    >>> from bids_sexclf.errors import InputError
    >>> shared_kind([InputError("a"), InputError("b")]).__name__
    'InputError'
    >>> shared_kind([InputError("a"), MemoryError("b")]).__name__
    'ToolError'
    >>> shared_kind([OSError(28, "No space left on device")]).__name__
    'StorageError'
    """
    explained = [explain(fault) for fault in faults]
    codes = {explanation and explanation.exit_code for explanation in explained}
    return next((kind for kind in REFUSALS if codes == {kind.exit_code}), ToolError)


def name_jobs(jobs):
    """Return the names of jobs: model, map and folds.

    Parameters
    ----------
    jobs : list of Job

    Returns
    -------
    str

    Examples
    --------
    >>> from bids_sexclf.group._jobs import Job
    >>> from bids_sexclf.settings import Study
    >>> name_jobs([Job(None, None, Study(), "cnn3", "T1w", 1, fold) for fold in (1, 2, 3)])
    'cnn3 on T1w, folds 1, 2 and 3'
    """
    folds = {}
    for job in jobs:
        repeat = f" of repeat {job.repeat}" if job.study.repeats > 1 else ""
        fold_numbers = folds.setdefault((name_pair(job.model, job.map), repeat), {})
        fold_numbers[str(job.fold)] = (
            None  # once, although several of its attributions may have failed
        )
    return "; ".join(
        f"{pair}, fold{'s' if len(fold_numbers) > 1 else ''} {say_list(fold_numbers)}{repeat}"
        for (pair, repeat), fold_numbers in folds.items()
    )
