"""Attack the program, and count what it does wrong.

    python benchmarks/chaos.py [--part mutations kills ...] [--level group] [--count 2000]
                               [--seed 0] [--keep DIR]

    kills       SIGKILL at random moments over both levels, half of them within 2 s of a worker's
                start, and SIGTERM and SIGINT beside it: no child left, and in the end the same
                files
    writes      a full disk and no permission at every site of a write, at both levels: an error in
                words, nothing half written, and once there is room the same files
    permissions files and folders that may not be read or written, for a process without the
                rights of root: an error in words, and what belongs to one costs one
    mutations   damaged files for every reader: refused in words, or read as they were, in time
                and in bounded memory
    hostile     scripts, signs of LaTeX, control characters and megabytes in every text that a
                page, a figure or a message shows
    together    several runs into one output folder at the same time
    repeats     the same seed with other numbers of processes and threads

The tests run the same attacks in a short form (``tests/faults``). The exit code is 1 where any
attack succeeded. ``--count`` is for each part; without it each has its own.
"""

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS / "faults"), str(TESTS)]

COUNTS = {
    "kills": 100, "writes": 10_000, "permissions": 20, "mutations": 2000, "hostile": 100,
    "together": 10, "repeats": 8,
}  # fmt: skip

LEVELS = ("group", "participant")
OF_LEVELS = ("kills", "writes", "permissions", "repeats")
"""Parts that attack one level after the other."""


def main():
    """Run the parts asked for and print a table of what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=list(COUNTS), default=list(COUNTS))
    parser.add_argument(
        "--level", nargs="+", choices=LEVELS, help=f"For {', '.join(OF_LEVELS)}. [both]"
    )
    parser.add_argument("--count", type=int, help="Attacks of each part.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="Keep the files of the attacks here.")
    given = parser.parse_args()
    rows, bad = [], 0
    for part in given.part:
        attack = importlib.import_module(f"attacks.{part}")
        with tempfile.TemporaryDirectory() as scratch:
            folder = (given.keep or Path(scratch)) / part
            folder.mkdir(parents=True)
            levels = {"levels": given.level} if given.level and part in OF_LEVELS else {}
            outcome = attack.run(folder, given.count or COUNTS[part], given.seed, **levels)
        bad += len(outcome.faults)
        for fault in outcome.faults:
            print(f"  {part}: {fault}", flush=True)
        for reason in outcome.skipped:
            print(f"  {part}: skipped: {reason}", flush=True)
        numbers = ", ".join(f"{count} {name}" for name, count in sorted(outcome.numbers.items()))
        rows.append(
            f"| {part} | {outcome.tried} | {len(outcome.faults)} | {numbers} | "
            f"{outcome.seconds:.0f} s |"
        )
    print("| part | attacks | faults | what was seen | time |\n|---|---|---|---|---|")
    print("\n".join(rows))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
