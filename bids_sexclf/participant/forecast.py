"""Predict how long a run will still take, from what each kind of step costs.

``data/costs.json`` holds seconds of one processor, measured on one real participant-session, for
each kind of step, and with what they grow. What a run has measured itself corrects them.
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

UNKNOWN = 2.0
"""Seconds of a kind of step that the table does not hold."""

TRUST = 10.0
"""Seconds of measured steps that weigh as much as the table."""

LEAST_LEFT = 0.1
"""Share of the predicted seconds that an overdue step is assumed to need still."""


@dataclass(frozen=True)
class Step:
    """One step of one participant-session.

    Attributes
    ----------
    who : str
        The participant-session.
    kind : str
        Name of the step, the same for all participant-sessions.
    seconds : float
        Predicted duration.
    processors : int
        How many it uses.
    needs : tuple of str
        Full names of the steps that must end before it begins.
    """

    who: str
    kind: str
    seconds: float
    processors: int = 1
    needs: tuple = ()


@cache
def read_costs():
    """Read the table of measured costs.

    Returns
    -------
    dict
        ``sizes``: size of what was measured, by kind of scan; ``steps``: kind of step to its
        ``seconds``, ``words`` and, where it grows, ``grows``: the kind of scan it grows with.
    """
    text = (files("bids_sexclf") / "data" / "costs.json").read_text(encoding="utf-8")
    return json.loads(text)


def foretell(kind, sizes):
    """Return the seconds that a step should take.

    Parameters
    ----------
    kind : str
        Name of the step, as ``data/costs.json`` spells it.
    sizes : dict of str to float
        Kind of scan to its number of values: voxels, times volumes in a series. Without one the
        step is taken to be as large as the one that was measured.

    Returns
    -------
    float
    """
    costs = read_costs()
    entry = costs["steps"].get(kind)
    if entry is None:
        return UNKNOWN
    scan = entry.get("grows")
    measured = costs["sizes"].get(scan)
    grown = sizes.get(scan, measured) / measured if measured else 1.0
    return entry["seconds"] * grown


def describe_step(kind):
    """Return the description of a step; its own name where the table does not hold it.

    Examples
    --------
    >>> describe_step("anat_wf.never_heard_of")
    'never heard of'
    """
    entry = read_costs()["steps"].get(kind, {})
    return entry.get("words") or kind.rpartition(".")[2].replace("_", " ")


def seconds_left(steps, spans, lost, now, processors, cached=frozenset()):
    """Predict how many seconds a run will still take.

    Parameters
    ----------
    steps : dict of str to Step
        Every step of the run by its full name; each behind those that it needs.
    spans : dict of str to (float, float or None)
        Steps that were begun: when, s, and when they ended; None while they run.
    lost : set of str
        Participant-sessions of which a step failed: their remaining steps do not count.
    now : float
        s, on the same clock.
    processors : int
        How many the run may use.
    cached : set of str
        Steps that were taken from an earlier run: they say nothing of the pace of this one.

    Returns
    -------
    float
        Seconds from now.

    Notes
    -----
    The predicted seconds of a step are multiplied by a measured pace: that of its kind in this
    run, or that of all kinds where its kind has not run yet. The run lasts as long as all work
    takes on all processors, or as long as the longest chain of dependent steps, whichever is
    longer (Graham's bounds of list scheduling, doi:10.1137/0117039).
    """
    pace = _Pace(steps, spans, now, cached)
    work, ends = 0.0, {}
    for name, step in steps.items():
        begun, ended = spans.get(name, (None, None))
        if ended is not None or (begun is None and step.who in lost):
            continue
        seconds = step.seconds * pace.of(step.kind)
        if begun is not None:
            seconds = max(seconds - (now - begun), LEAST_LEFT * seconds)
        work += seconds * min(step.processors, processors)
        ends[name] = seconds + max((ends.get(need, 0.0) for need in step.needs), default=0.0)
    return max(work / processors, max(ends.values(), default=0.0))


class _Pace:
    """Measured over predicted duration of the steps of this run, by kind."""

    def __init__(self, steps, spans, now, cached=frozenset()):
        self.measured, self.foretold = defaultdict(float), defaultdict(float)
        self.counts, self.overall = defaultdict(int), 1.0
        timed = steps.keys() - cached
        begun_steps = [(steps[name], *span) for name, span in spans.items() if name in timed]
        for step, begun, ended in begun_steps:
            if ended is not None:
                self._count(step, ended - begun)
        self._average()
        for step, begun, ended in begun_steps:  # a step that runs longer than predicted counts too
            if ended is None and now - begun > self.overall * step.seconds:
                self._count(step, now - begun)
        self._average()

    def _count(self, step, measured):
        self.measured[step.kind] += measured
        self.foretold[step.kind] += step.seconds
        self.counts[step.kind] += 1

    def _average(self):
        foretold, measured = sum(self.foretold.values()), sum(self.measured.values())
        self.overall = (TRUST + measured) / (TRUST + foretold)

    def of(self, kind):
        """Return the pace of one kind; the more often it was measured, the more its own counts."""
        if not self.foretold.get(kind):  # never measured, or predicted to take no time
            return self.overall
        one = self.foretold[kind] / self.counts[kind]
        return (one * self.overall + self.measured[kind]) / (one + self.foretold[kind])


class Clock:
    """Record which steps of a run have begun and ended, and predict the time left.

    Parameters
    ----------
    steps : dict of str to Step
    processors : int
    """

    def __init__(self, steps, processors):
        self.steps, self.processors = steps, processors
        self.spans, self.lost, self.cached = {}, set(), set()
        self._told = (float("-inf"), 0.0)

    def begin(self, name, now):
        """Note that a step has begun."""
        self.spans.setdefault(name, (now, None))

    def skip(self, name):
        """Note that a step is taken from an earlier run."""
        self.cached.add(name)

    def end(self, name, now, failed=False):
        """Note that a step has ended."""
        self.spans[name] = (self.spans.get(name, (now, None))[0], now)
        if failed and name in self.steps:
            self.lost.add(self.steps[name].who)

    def left(self, now):
        """Return the seconds left; predict them anew at most every five seconds."""
        if now - self._told[0] > 5:
            seconds = seconds_left(
                self.steps, self.spans, self.lost, now, self.processors, self.cached
            )
            self._told = (now, seconds)
        return max(self._told[1] - (now - self._told[0]), 0.0)

    def running(self):
        """Return the steps that run now, longest first."""
        names = [name for name, (_, ended) in self.spans.items() if ended is None]
        steps = [self.steps[name] for name in names if name in self.steps]
        return sorted(steps, key=lambda step: -step.seconds)


def say_time(seconds):
    """Return a duration in words.

    Examples
    --------
    >>> say_time(20), say_time(700), say_time(9000)
    ('less than a minute', 'about 12 min', 'about 2 h 30 min')
    """
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    hours, minutes = divmod(minutes, 60)
    return f"about {hours} h {minutes:02d} min" if hours else f"about {minutes} min"


def say_progress(clock, now, finished):
    """Return one line: what runs, the time left, and the number of finished sessions.

    Parameters
    ----------
    clock : Clock
    now : float
        s.
    finished : int
        Participant-sessions.

    Returns
    -------
    str
        ``about 12 min left, 3 finished; sub-01: finding the brain, 1 more``.
    """
    line = f"{say_time(clock.left(now))} left, {finished} finished"
    running = clock.running()
    if not running:
        return line
    more = f", {len(running) - 1} more" if len(running) > 1 else ""
    return f"{line}; {running[0].who}: {describe_step(running[0].kind)}{more}"
