"""Make a phantom dataset from the command line: ``bids-sexclf-phantom OUT --participants 40``."""

import argparse
import dataclasses
import sys

from bids_sexclf import __version__
from bids_sexclf.ending import end_with, open_streams
from bids_sexclf.errors import USAGE
from bids_sexclf.phantom.options import PhantomOptions
from bids_sexclf.stopping import stoppable


class _Parser(argparse.ArgumentParser):
    """A parser that exits with the exit code of a usage error."""

    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}. See --help for what exists.\n")


def make_parser():
    """Make the parser, with one flag per phantom option.

    Returns
    -------
    argparse.ArgumentParser
    """
    parser = _Parser(
        prog="bids-sexclf-phantom",
        description="Make a synthetic BIDS dataset in which one brain region differs by sex.",
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("out", help="Folder of the dataset; an unfinished one is completed.")
    for entry in dataclasses.fields(PhantomOptions):
        parser.add_argument(f"--{entry.name.replace('_', '-')}", **_rules(entry))
    parser.add_argument("--nprocs", type=int, default=1, help="Processes.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def _rules(entry):
    """Return the arguments of argparse for one option."""
    rules = {"help": entry.metadata["help"], "default": entry.default, "dest": entry.name}
    if entry.type is bool:
        return rules | {"action": argparse.BooleanOptionalAction}
    if entry.metadata["choices"]:
        return rules | {"choices": entry.metadata["choices"]}
    if entry.type == tuple[int, ...]:
        return rules | {"type": int, "nargs": "+", "metavar": "N"}
    metavar = {int: "N", float: "X", str: "NAME|INDEX"}[entry.type]
    return rules | {"type": entry.type, "metavar": metavar}


def main(argv=None):
    """Run the command.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        Exit code: 0, or that of the error.
    """
    open_streams()
    parser = make_parser()
    values = vars(parser.parse_args(argv))
    out, nprocs = values.pop("out"), values.pop("nprocs")
    if nprocs < 1:
        parser.error(f"found --nprocs {nprocs}, needed at least 1")
    try:
        with stoppable():
            _write(out, PhantomOptions(**values), nprocs)
    except (Exception, KeyboardInterrupt) as fault:
        words = sys.argv[1:] if argv is None else argv
        return end_with(fault, words, out, program=parser.prog)
    return 0


def _write(out, options, nprocs):
    """Write the dataset, with progress on stderr."""
    from tqdm import tqdm

    from bids_sexclf.phantom.dataset import write_dataset

    with tqdm(total=options.participants, unit="participant", file=sys.stderr) as bar:
        write_dataset(out, options, lambda label: bar.update(), nprocs)
