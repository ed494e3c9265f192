"""Tell what failed: each cause once, with all that it struck."""

from contextlib import contextmanager

from bids_sexclf.errors import REFUSALS, ToolError
from bids_sexclf.faults import explain
from bids_sexclf.words import name_pair, say_list


def check_results(jobs, results, what):
    """Return the results of jobs if all went well.

    Parameters
    ----------
    jobs : list of Job
    results : list
        One per job; exceptions where jobs failed.
    what : str
        What the jobs are, for the message: ``"fits"``.

    Returns
    -------
    list

    Raises
    ------
    ToolError, InputError, GridError or LeakageError
        Of the kind that all faults share; a ToolError where they share none of these.
    RuntimeError
        If a fault must lie in the program.
    """
    pairs = zip(jobs, results, strict=True)
    struck = [(job, result) for job, result in pairs if isinstance(result, Exception)]
    if not struck:
        return results
    message = (
        f"Found {len(struck)} of {len(jobs)} {what} failed ({_tell(struck, name_jobs)}); "
        "needed all. The others are kept: mend the cause and run again."
    )
    for _, fault in struck:
        if explain(fault) is None:
            raise RuntimeError(message) from fault
    raise shared_kind(fault for _, fault in struck)(message)


@contextmanager
def gather_faults(what):
    """Attempt several things, and refuse all that went wrong at the end.

    Parameters
    ----------
    what : str
        What is refused, for the message.

    Yields
    ------
    callable
        Called as ``attempt(name, function, *given)``; a refusal counts against the name.

    Raises
    ------
    ToolError, InputError, GridError or LeakageError
        As for `check_results`.
    """
    struck = []

    def attempt(name, function, *given):
        try:
            function(*given)
        except REFUSALS as fault:
            struck.append((name, fault))

    yield attempt
    if struck:
        raise shared_kind(fault for _, fault in struck)(
            f"Found {len(dict(struck))} {what} ({_tell(struck, say_list)}); needed all. Mend the "
            "cause and run again."
        )


def _tell(struck, name):
    """Tell each cause once, behind the names of all that it struck."""
    causes = {}
    for one, fault in struck:
        told = explain(fault)
        words = told.message if told else f"{type(fault).__name__}: {fault}"
        causes.setdefault(words, []).append(one)
    return "; ".join(f"{name(own)}: {cause}" for cause, own in causes.items())


def shared_kind(faults):
    """Give the class that faults share among those of the package.

    Parameters
    ----------
    faults : iterable of Exception

    Returns
    -------
    type
        One of ``errors.REFUSALS``, also for faults of the system that have the same exit code;
        ToolError where there is no such.

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
    codes = {told and told.exit_code for told in explained}
    return next((kind for kind in REFUSALS if codes == {kind.exit_code}), ToolError)


def name_jobs(jobs):
    """Name jobs by model, map and folds.

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
        own = folds.setdefault((name_pair(job.model, job.map), repeat), {})
        own[str(job.fold)] = None  # once, though several attributions of it may have failed
    return "; ".join(
        f"{pair}, fold{'s' if len(own) > 1 else ''} {say_list(own)}{repeat}"
        for (pair, repeat), own in folds.items()
    )
