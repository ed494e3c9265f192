"""Time left: what is foretold against runs whose steps are scheduled as a pool would."""

import heapq
import random

import numpy as np
import pytest

from bids_sexclf.participant import forecast
from bids_sexclf.participant.forecast import Clock, Step, say_progress, seconds_left

CHAIN = {"mask": 10.0, "register": 60.0, "tissues": 25.0, "draw": 4.0, "write": 1.0}
BESIDE = {"motion": 40.0, "fit": 20.0, "pictures": 6.0}
"""Two chains of steps that may run at once, each in its order; seconds."""


def plan(people, scale=1.0):
    steps, needs = {}, {}
    for person in range(people):
        for chain in (CHAIN, BESIDE):
            before = None
            for kind, seconds in chain.items():
                name = f"{person}.{kind}"
                needed = (before,) if before else ()
                steps[name] = Step(f"sub-{person}", kind, seconds * scale, needs=needed)
                needs[name], before = before, name
    return steps, needs


def simulate(steps, needs, true, processors):
    """Schedule steps as the pool does; return when each begins and ends."""
    spans, free, running, now = {}, processors, [], 0.0
    waiting = list(steps)
    while waiting or running:
        ready = [
            n for n in waiting if needs[n] is None or spans.get(needs[n], (0, np.inf))[1] <= now
        ]
        for name in ready[:free]:
            spans[name] = (now, now + true(steps[name]))
            heapq.heappush(running, (spans[name][1], name))
            waiting.remove(name)
            free -= 1
        now, _ = heapq.heappop(running)
        free += 1
    return spans


def seen_at(spans, now):
    """Return the spans as they are known at a time."""
    return {
        name: (begun, ended if ended <= now else None)
        for name, (begun, ended) in spans.items()
        if begun <= now
    }


@pytest.mark.parametrize("slowness", [0.4, 1.0, 3.5])
@pytest.mark.parametrize(("people", "processors"), [(1, 4), (3, 2), (12, 4), (40, 8)])
def test_time_left_is_right_once_a_part_is_over(people, processors, slowness):
    steps, needs = plan(people)
    draw = random.Random(people)
    spans = simulate(
        steps, needs, lambda step: step.seconds * slowness * draw.uniform(0.8, 1.25), processors
    )
    whole = max(ended for _, ended in spans.values())
    for share, most in ((0.25, 0.5), (0.5, 0.25), (0.75, 0.2), (0.9, 0.1)):
        now = share * whole
        left = seconds_left(steps, seen_at(spans, now), set(), now, processors)
        assert abs(left - (whole - now)) < most * whole, (share, left, whole - now)


def test_counting_steps_would_be_wrong_where_costs_differ():
    """Most steps are short, and the long one comes last."""
    steps = {f"s{i}": Step("sub-1", "short", 1.0) for i in range(90)}
    steps["last"] = Step("sub-1", "long", 600.0)
    spans = {f"s{i}": (float(i), i + 1.0) for i in range(90)}
    left = seconds_left(steps, spans, set(), 90.0, 1)
    assert 550 < left < 650  # by counting steps it would be a second


def test_a_kind_that_is_slow_here_is_foretold_slow_for_the_others():
    steps, _ = plan(4)
    spans = {f"{p}.register": (0.0, 600.0) for p in range(2)}  # ten times as long
    spans |= {f"{p}.mask": (0.0, 10.0) for p in range(2)}
    pace = forecast._Pace(steps, spans, 600.0)
    assert pace.of("register") > 8 and pace.of("mask") < 4


def test_a_kind_that_is_foretold_to_take_no_time_has_a_pace():
    steps = {"a": Step("sub-1", "records", 0.0), "b": Step("sub-1", "records", 0.0)}
    assert seconds_left(steps, {"a": (0.0, 3.0)}, set(), 4.0, 1) == 0
    clock = Clock(steps, 2)
    clock.begin("a", 0.0)
    assert "0 finished" in forecast.say_progress(clock, 10.0, 0)


def test_what_an_earlier_run_has_finished_says_nothing_of_the_pace():
    steps, _ = plan(4)
    clock = Clock(steps, 1)
    for name in (name for name, step in steps.items() if step.who == "sub-0"):
        clock.begin(name, 0.0)
        clock.skip(name)
        clock.end(name, 0.01)
    assert clock.left(1.0) == pytest.approx(3 * 166.0)


def test_short_steps_of_this_run_tell_of_its_pace_however_short():
    """A small image registers in a fiftieth of what the table says; other steps take as long."""
    steps, needs = plan(24)
    spans = simulate(
        steps, needs, lambda step: step.seconds / (50 if step.kind == "register" else 1), 2
    )
    whole = max(ended for _, ended in spans.values())
    left = seconds_left(steps, seen_at(spans, whole / 2), set(), whole / 2, 2)
    assert abs(left - whole / 2) < 0.1 * whole


def test_steps_behind_a_failure_are_not_awaited():
    steps, _ = plan(2)
    clock = Clock(steps, 1)
    clock.begin("0.mask", 0.0)
    clock.end("0.mask", 10.0, failed=True)
    assert clock.left(10.0) == pytest.approx(166.0)


def test_an_overdue_step_is_still_awaited():
    steps = {"a": Step("sub-1", "mask", 10.0)}
    assert 0 < seconds_left(steps, {"a": (0.0, None)}, set(), 100.0, 1) < 10


def test_the_line_names_the_longest_step_that_runs():
    steps = {"a": Step("sub-1", "wf.short_one", 1.0), "b": Step("sub-2", "wf.long_one", 900.0)}
    clock = Clock(steps, 2)
    clock.begin("a", 0.0)
    clock.begin("b", 0.0)
    line = say_progress(clock, 0.0, 3)
    assert line == "about 15 min left, 3 finished; sub-2: long one, 1 more"


def test_steps_grow_with_the_scans_that_they_read():
    costs = forecast.read_costs()
    size, kind = next(
        (costs["sizes"][entry["grows"]], kind)
        for kind, entry in costs["steps"].items()
        if entry.get("grows") and entry["seconds"] > 1
    )
    scan = costs["steps"][kind]["grows"]
    one, two = (forecast.foretell(kind, {scan: n * size}) for n in (1, 2))
    assert two == pytest.approx(2 * one) and one == costs["steps"][kind]["seconds"]
    assert forecast.foretell(kind, {}) == one
    assert forecast.foretell("a.step.of.tomorrow", {}) == forecast.UNKNOWN


def test_costs_are_whole():
    costs = forecast.read_costs()
    for kind, entry in costs["steps"].items():
        assert entry["seconds"] >= 0 and entry["words"], kind
        assert entry.get("grows") in (None, *costs["sizes"]), kind
