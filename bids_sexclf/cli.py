"""The command line: read settings from arguments, run one level, return an exit code."""

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import Literal, get_args, get_origin

from bids_sexclf import __version__
from bids_sexclf.disk import temporary_files
from bids_sexclf.ending import end_with, open_streams
from bids_sexclf.errors import PARTIAL, USAGE, suggest
from bids_sexclf.places import check_places
from bids_sexclf.settings import (
    People,
    Preparation,
    Run,
    Study,
    build_all,
    find_study,
    plain_type,
    read_toml,
    read_word,
    spread_people,
)
from bids_sexclf.stopping import stoppable
from bids_sexclf.texts import clean, count_noun

RECORDS = {
    "execution": Run,
    "participant level: preparation of scans": Preparation,
    "group level: these choices override the study": Study,
}


class Parser(argparse.ArgumentParser):
    """A parser that exits with the code for wrong usage, and suggests similar flags."""

    def parse_args(self, args=None, namespace=None):
        """Read the arguments; refuse unknown flags and suggest similar ones."""
        read, unknown_words = self.parse_known_args(args, namespace)
        if unknown_words:
            flags = [word.partition("=")[0] for word in unknown_words if word.startswith("-")]
            known_flags = self._option_string_actions
            self.error(
                f"unrecognized arguments: {' '.join(unknown_words)}.{suggest(flags, known_flags)}"
            )
        return read

    def error(self, message):
        """Write the error, and exit with 64."""
        self.exit(USAGE, f"{self.prog}: {message}\nTry '{self.prog} --help'.\n")


def build_parser():
    """Make the parser; every flag is a field of a record in ``settings``.

    Returns
    -------
    argparse.ArgumentParser
    """
    parser = Parser(
        prog="bids-sexclf",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        description="Estimate where, and how surely, female and male brains differ in MRI.",
    )
    parser.add_argument("bids_dir", type=Path, help="Folder of the BIDS dataset.")
    parser.add_argument("output_dir", type=Path, help="Folder for all results.")
    parser.add_argument(
        "level",
        choices=("participant", "group"),
        metavar="{participant,group}",
        help="participant computes maps from scans; group trains and tests models on maps.",
    )
    parser.add_argument("--version", action="version", version=f"bids-sexclf {__version__}")
    parser.add_argument(
        "--study", default="default", help="Name of a preset, or a TOML file. [default]"
    )
    added = set()
    for title, record in RECORDS.items():
        group = parser.add_argument_group(title)
        for name, field in record.model_fields.items():
            if name not in added and (record, name) != (Study, "name"):
                _add_flag(group, name, field)
                added.add(name)
    return parser


def _add_flag(group, name, field):
    """Add the flag of one field."""
    extra = (field.json_schema_extra or {}).get("flags", [])
    flags = [*extra, f"--{name.replace('_', '-')}"]
    text = field.description.replace("%", "%%")
    if field.default is not None and field.annotation is not bool and name != "verbose":
        shown = field.default
        shown = " ".join(map(str, shown)) if isinstance(shown, (list, tuple)) else shown
        text += f" [{shown}]"
    options = {"dest": name, "help": text}
    kind = plain_type(field.annotation)
    if field.annotation is bool:
        options["action"] = "store_true"
    elif name == "verbose":
        options["action"] = "count"
    elif get_origin(kind) is Literal:
        options["choices"] = get_args(kind)
    elif get_origin(kind) in (list, tuple):
        options |= {"nargs": "+", "metavar": name.upper(), "type": partial(read_word, kind)}
        if get_origin(kind) is list:
            options["action"] = "extend"  # the flag may be repeated
    else:
        options |= {"metavar": name.upper(), "type": partial(read_word, kind)}
    group.add_argument(*flags, **options)


def read_settings(arguments):
    """Read the settings from the study file, the config file and the flags, in that order.

    Parameters
    ----------
    arguments : dict
        What the parser gave.

    Returns
    -------
    dict
        ``run``, ``preparation``, ``study``.

    Raises
    ------
    InputError
        If a value or a name cannot be used.
    """
    config = (
        spread_people(read_toml(arguments["config_file"])) if "config_file" in arguments else {}
    )
    known_names = {name for record in RECORDS.values() for name in record.model_fields}
    # The study gets the unknown names, so that all faults are reported together.
    unknown = {name: config[name] for name in config if name not in known_names}
    study = find_study(arguments["study"])
    people = {key: study[key] for key in People.model_fields if key in study}
    sources, values = {Study: study | unknown, Preparation: people}, {}
    for record in RECORDS.values():
        values[record] = dict(sources.get(record, {}))
        for source in (config, arguments):
            values[record] |= {key: source[key] for key in record.model_fields if key in source}
    records = build_all(values, "the study, the file and the flags")
    return {record.__name__.lower(): records[record] for record in records}


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional

    Returns
    -------
    int
        0 when everything is done, 3 when participants were left out, 64 and above for wrong input,
        70 for a fault of the program, 130 and above when stopped.
    """
    open_streams()
    arguments = vars(build_parser().parse_args(argv))
    os.environ["NIPYPE_NO_ET"] = "1"  # no version ping
    try:
        with stoppable():
            code = _run(arguments)
            sys.stdout.flush()  # report here what cannot be written, not when Python exits
            return code
    except (Exception, KeyboardInterrupt) as fault:
        words = sys.argv[1:] if argv is None else argv
        return end_with(fault, words, arguments["output_dir"], arguments.get("verbose"))


def _run(arguments):
    """Run one level, and return the exit code."""
    records = read_settings(arguments)
    out, run = arguments["output_dir"], records["run"]
    check_places(arguments["bids_dir"], out, run)
    level = {"participant": _participant, "group": _group}[arguments["level"]]
    if run.dry_run and level is _participant:  # which writes nothing
        return level(arguments["bids_dir"], out, **records)
    # The work folder is writable where other folders may not be.
    folder = Path(run.work_dir or out / "work", "tmp")
    with temporary_files(folder, sockets=level is _group):
        return level(arguments["bids_dir"], out, **records)


def _participant(bids_dir, out, run, preparation, study):
    """Run the participant level, and print a summary."""
    from bids_sexclf.participant import run as level
    from bids_sexclf.participant.foresee import foresee, tell_empty
    from bids_sexclf.participant.nobody import refuse_all
    from bids_sexclf.participant.plan import plan

    with Bar("checking scans", "scan") as bar:
        planned = plan(bids_dir, out, run, preparation, bar.update)
    if run.dry_run:
        for line in foresee(planned, preparation, run.nprocs):
            print(line)
        if not planned.ready and not planned.finished:
            raise refuse_all(planned.excluded, run)
        return PARTIAL if planned.excluded else 0
    _print_reasons("left out", planned.excluded)
    _print_reasons("warning:", planned.partial)
    if not run.reports_only:
        _print_reasons("made again", planned.again)
    if planned.empty:
        print(tell_empty(planned.empty), file=sys.stderr)
    print(
        f"{len(planned.ready)} to prepare, {len(planned.finished)} finished before, "
        f"{len(planned.excluded)} left out"
    )
    if run.boilerplate_only:
        print(level.write_boilerplate(out, planned.worklist, preparation))
        return 0
    if run.reports_only:
        print(
            f"{count_noun(level.rewrite_reports(out, planned, preparation, _warn), 'report')} "
            "written"
        )
        return PARTIAL if planned.excluded else 0
    with Bar("preparing", "step", rate=False) as bar:
        excluded = level.execute(bids_dir, out, run, preparation, planned, bar.update, _warn)
    _print_reasons("failed", excluded[len(planned.excluded) :])
    n_prepared = len(planned.ready) + len(planned.finished) + len(planned.excluded) - len(excluded)
    print(
        f"{count_noun(n_prepared, 'participant-session')} prepared, {len(excluded)} left out: see "
        f"{out}/excluded.tsv"
    )
    return PARTIAL if excluded else 0


def _group(bids_dir, out, run, preparation, study):
    """Run the group level; of several processes, the first runs stages and the others assist."""
    if run.num_nodes is None:
        return _run_study(bids_dir, out, run, study)
    from bids_sexclf.group import base, fit
    from bids_sexclf.training.team import gathered

    with gathered(run) as team:
        if team.leads:
            return _run_study(bids_dir, out, run, study, team)
        return fit.assist(base.Desk.at(bids_dir, out, run, study, team))


def _run_study(bids_dir, out, run, study, team=None):
    """Run the stages of a study, and print its findings."""
    from bids_sexclf import models
    from bids_sexclf.citations import write_citations
    from bids_sexclf.group import base
    from bids_sexclf.group.questions import check_choices
    from bids_sexclf.report.methods import write_methods

    if run.participant_label:
        print(
            "warning: --participant-label has no effect on the group level, which studies everyone "
            "who is prepared; to leave people out, take their rows out of participants.tsv, or "
            "call them unused in a split_file",
            file=sys.stderr,
        )
    if run.reports_only:
        run = run.model_copy(update={"first": "report", "last": "report"})
    if run.boilerplate_only:
        print(write_citations(write_methods(study), out / f"study-{study.name}" / "logs"))
        return 0
    models.check(study)
    check_choices(study)
    desk = base.Desk.at(bids_dir, out, run, study, team)
    stages = base.chosen(run)
    if run.dry_run:
        for stage, description in base.foresee(desk, stages).items():
            print(f"{stage}\t{description}")
        return 0
    with base.alone(desk):
        for stage in stages:
            _run_one(desk, stage)
        for line in base.findings(desk):
            print(line)
        return PARTIAL if base.left_out(desk) else 0


def _run_one(desk, stage):
    """Run one stage of a study; after the cohort stage, print a summary of the cohort."""
    from bids_sexclf.group import base

    with Bar(stage, "step") as bar:
        outcome = base.run_stage(desk, stage, bar.update, _warn)
    if stage == "cohort":
        _print_cohort(desk)
    if stage == "cohort" and outcome != "finished":  # hours of training may follow
        for line in base.warnings_of(desk):
            print(line, file=sys.stderr)


def _print_cohort(desk):
    """Print the size of the cohort, and the main reasons for exclusions."""
    from bids_sexclf.group import base

    excluded = base.left_out(desk)
    if excluded:
        _print_reasons("left out", excluded, limit=5)
        print(
            f"{count_noun(len(desk.read('cohort')), 'participant-session')} to study, "
            f"{len(excluded)} left out: "
            f"see {desk.folder}/excluded.tsv",
            file=sys.stderr,
        )


def _warn(sentence):
    """Print a warning while the run goes on."""
    print(sentence, file=sys.stderr, flush=True)


def _print_reasons(verb, rows, limit=None):
    """Print each reason once with the participants it concerns, the most frequent first."""
    from bids_sexclf.people import group_reasons

    for reason, people in group_reasons(rows)[:limit]:
        print(f"{verb} {people}: {clean(reason, 1000)}", file=sys.stderr)


PLAIN = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit}s [{elapsed}{postfix}]"
"""Format of a progress bar whose notes show the time left."""


class Bar:
    """A progress bar with the time left, created at the first update.

    Parameters
    ----------
    title, unit : str
    rate : bool
        Foretell the time left by the steps that are over. Without it the notes tell it, for steps
        that take unlike times.
    """

    def __init__(self, title, unit, rate=True):
        self.title, self.unit, self.rate, self.bar = title, unit, rate, None

    def update(self, done, total, note=None):
        """Show that `done` of `total` steps are finished."""
        from tqdm import tqdm

        if self.bar is None:
            shape = {} if self.rate else {"bar_format": PLAIN}
            self.bar = tqdm(
                total=total, desc=self.title, unit=self.unit, mininterval=1, dynamic_ncols=True,
                **shape,
            )  # fmt: skip
        self.bar.total = total  # the total may become known during the run
        self.bar.update(done - self.bar.n)
        if isinstance(note, str):
            self.bar.set_postfix_str(note)
        elif note is not None:
            self.bar.set_postfix_str(f"{note} finished")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.bar is not None:
            self.bar.close()


if __name__ == "__main__":
    sys.exit(main())
