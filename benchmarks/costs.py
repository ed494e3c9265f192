"""Measure what each step of one participant-session costs: the seconds of ``data/costs.json``.

    python benchmarks/costs.py BIDS_DIR OUT 01 --template MNI152NLin6Asym

Steps run one after the other in this process, and their processor time is told, which other work
on the machine changes little. Words, and with what a step grows, stay as the table has them.
"""

import argparse
import json
import os
from pathlib import Path

from bids_sexclf.participant import forecast, graph
from bids_sexclf.participant import run as level
from bids_sexclf.participant.plan import plan
from bids_sexclf.settings import Preparation, Run


def processor_seconds():
    """Return the processor time of this process and of those that it has started, s."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measure(bids_dir, out, label, preparation):
    """Prepare one participant; return seconds by kind of step, and sizes of the scans."""
    begun, took, sizes = {}, {}, {}

    def follow(node, status):
        if status == "start":
            begun[node.fullname] = processor_seconds()
        elif status == "end" and node.fullname in begun:
            kind = node.fullname.split(".", 2)[2]
            took[kind] = round(processor_seconds() - begun[node.fullname], 2)

    def run_one_by_one(workflow, *args):
        workflow.run(plugin="Linear", plugin_args={"status_callback": follow})

    def note_sizes(record, measure_scans=graph.measure_scans):
        sizes.update(measure_scans(record))
        return dict(sizes)

    graph._run_graph, graph.measure_scans = run_one_by_one, note_sizes
    run = Run(participant_label=[label], skip_bids_validation=True, allow_unlabelled=True)
    level.execute(bids_dir, out, run, preparation, plan(bids_dir, out, run, preparation))
    return took, sizes


def main():
    """Write the table with the seconds that were measured to standard output."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bids_dir", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("label")
    parser.add_argument("--template", default=Preparation().template)
    given = parser.parse_args()
    preparation = Preparation(template=given.template)
    took, sizes = measure(given.bids_dir, given.out, given.label, preparation)
    steps = dict(forecast.read_costs()["steps"])
    for kind, seconds in took.items():
        words = {"words": forecast.describe_step(kind)}
        steps[kind] = words | steps.get(kind, {}) | {"seconds": seconds}
    print(json.dumps({"sizes": sizes, "steps": dict(sorted(steps.items()))}, indent=2))


if __name__ == "__main__":
    main()
