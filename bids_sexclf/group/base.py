"""The stages of a study, in order, and the rules that hold between them.

``cohort`` -> ``differences`` -> ``splits`` -> ``fit`` -> ``evaluate`` -> ``attribute`` ->
``regions`` -> ``agreement`` -> ``sanity`` -> ``audit`` -> ``report``; ``differences`` rests on the
cohort alone

Three rules keep old results from standing beside new ones:

1. The note of a stage (``logs/STAGE.json``) holds its choices and the digests of all files that
   the stage has read and written, and the stage is finished only while all of them still lie there
   with the same content.
2. A stage runs only if every stage whose tables it rests on is finished, all the way up.
3. When a stage has run, the tables of every later stage that were made from other tables than
   those that now lie there are removed.

A stage whose choices have changed is refused unless it is asked for by ``--first``. A stage that is
refused, or fails before it has fitted anything, leaves all tables as they were.
"""

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from bids_sexclf import targets
from bids_sexclf.cohort.tabular import settle
from bids_sexclf.disk import PART, remove_parts
from bids_sexclf.errors import InputError, suggest
from bids_sexclf.group import _notes
from bids_sexclf.group._looked import note_look
from bids_sexclf.group._states import (
    STAGES,
    check_upstream,
    discard,
    discard_stale,
    list_reads,
    module,
    put_aside,
    state,
    write_note,
)
from bids_sexclf.layout import write_description
from bids_sexclf.locks import hold
from bids_sexclf.settings import Run, Study
from bids_sexclf.tables import read_table
from bids_sexclf.words import name_pair

UNSURE = "unless what it reads changes"


@dataclass(frozen=True)
class Desk:
    """Where a study is worked on, and with which choices.

    Attributes
    ----------
    bids_dir : pathlib.Path
        Only its participants.tsv is read.
    derivatives : pathlib.Path
        The participant level's output.
    folder : pathlib.Path
        Of the study.
    run : settings.Run
    study : settings.Study
    team : training.team.Team or None
        The processes that train one network together, where they were started from outside.
    """

    bids_dir: Path
    derivatives: Path
    folder: Path
    run: Run
    study: Study
    team: object = None

    @classmethod
    def at(cls, bids_dir, out, run, study, team=None):
        """Lay out the desk under an output folder; only the first process of a team writes."""
        check_lists(study)
        out = Path(out)
        prepared = run.derivatives_of("bids_sexclf") or out
        study = settle(study, run, prepared)
        writes = team is None or team.leads
        if writes and not (out / "dataset_description.json").exists():
            out.mkdir(parents=True, exist_ok=True)
            elsewhere = {"prepared": prepared} if prepared.resolve() != out.resolve() else {}
            write_description(out, "bids_sexclf: a study", {"raw": bids_dir} | elsewhere)
        folder = out / f"study-{study.name}"
        return cls(Path(bids_dir), prepared, folder, run, study, team)

    def read(self, table):
        """Read one of the study's tables."""
        return read_table(self.folder / f"{table}.tsv", table)


def chosen(run):
    """List the stages that a run asks for.

    Parameters
    ----------
    run : settings.Run
        ``first`` and ``last`` are read.

    Returns
    -------
    tuple of str

    Raises
    ------
    InputError
        If there is no such stage, or the last comes before the first.
    """
    for flag, stage in (("--first", run.first), ("--last", run.last)):
        if stage is not None and stage not in STAGES:
            raise InputError(
                f"Found {flag} {stage}, needed one of {', '.join(STAGES)}. Correct it."
                f"{suggest([stage], STAGES)}"
            )
    first = STAGES.index(run.first) if run.first else 0
    last = STAGES.index(run.last) if run.last else len(STAGES) - 1
    if last < first:
        raise InputError(
            f"Found --first {run.first} after --last {run.last}, needed them in the order "
            f"{', '.join(STAGES)}. Exchange them."
        )
    return STAGES[first : last + 1]


def check_lists(study):
    """Refuse a study that names something twice in one list; numbers may be equal.

    Parameters
    ----------
    study : settings.Study

    Raises
    ------
    InputError
        A model that is named twice would be judged twice, as if more people had been tested.
    """
    lists = {key: value for key, value in study if _holds_names(value)}
    lists |= {f"the map {name}": name.split("+") for name in study.maps if "+" in name}
    for key, values in lists.items():
        twice = [value for value in dict.fromkeys(values) if values.count(value) > 1]
        if twice:
            raise InputError(
                f"Found {', '.join(map(str, twice))} more than once in {key}, needed each name "
                "once. Take the others out."
            )


def _holds_names(value):
    return isinstance(value, (list, tuple)) and all(isinstance(entry, str) for entry in value)


@contextmanager
def alone(desk):
    """Hold the lock of a study while the block runs, or refuse with the name of its holder.

    Runs of single folds do not hold it: several of them work side by side, and each takes the
    lock while it writes what they share (`run_stage`). What killed runs have left half-written is
    removed first.

    Parameters
    ----------
    desk : Desk

    Raises
    ------
    BusyError
    """
    shared = desk.run.folds is not None
    with nullcontext() if shared else hold(_lock(desk), _say_work(desk), wait=False):
        remove_parts([*desk.folder.parent.glob(f"{PART}*"), *desk.folder.rglob(f"{PART}*")])
        yield


def _lock(desk):
    return desk.folder / "logs" / "study.lock"


def _say_work(desk):
    return f"study {desk.study.name} is being worked on"


def _shared(desk, tell=None):
    """Hold the lock of a study for a while where several runs of single folds may share it."""
    return hold(_lock(desk), _say_work(desk), tell=tell) if desk.run.folds else nullcontext()


def run_stage(desk, stage, advance=None, tell=None):
    """Run a stage unless it is finished, and note what it was run with.

    Parameters
    ----------
    desk : Desk
    stage : str
    advance : callable, optional
        Called with (steps done, steps in all, a note).
    tell : callable, optional
        Called with a sentence about who is waited for.

    Returns
    -------
    str
        What `state` said.
    """
    advance = advance or (lambda done, total, note=None: None)
    entry = module(stage)
    side_by_side = hasattr(entry, "finish")
    with _shared(desk, tell):
        outcome = state(desk, stage)
        check_upstream(desk, stage)
        finished = outcome == "finished"
        if not finished:
            getattr(entry, "check", lambda desk: None)(desk)
            reads = _notes.take(list_reads(desk, stage))
        if finished or not side_by_side:
            with _tidy(desk, stage):
                if not finished:
                    with put_aside(desk, stage):
                        entry.run(desk, advance)
                        write_note(desk, stage, reads)
                    note_look(desk, stage)
            return outcome
        # What was made from other inputs must not stand where this run leaves a part undone.
        discard(desk, stage)
    with _tidy(desk, stage, lambda: _shared(desk, tell)):
        entry.run(desk, advance)
        with _shared(desk, tell):
            entry.finish(desk)
            write_note(desk, stage, reads)
    return outcome


@contextmanager
def _tidy(desk, stage, lock=nullcontext):
    """Remove at the end what later stages have made from other tables, also after a failure."""
    try:
        yield
    finally:
        with lock():
            discard_stale(desk, stage)


def warnings_of(desk):
    """Say what may be wrong with who is studied, before anything is learnt.

    Parameters
    ----------
    desk : Desk

    Returns
    -------
    list of str
    """
    if not all((desk.folder / f"{name}.tsv").exists() for name in ("cohort", "resemblance")):
        return []
    from bids_sexclf.cohort.resemblance import say_relatives

    sentence = say_relatives(desk.read("cohort"), desk.read("resemblance"))
    return [f"warning: {sentence}"] if sentence else []


def left_out(desk):
    """List whom the cohort leaves out, and why.

    Parameters
    ----------
    desk : Desk

    Returns
    -------
    list of dict
        participant_id, session_id (None where there is none), stage, reason; one for each
        participant-session.
    """
    table = desk.read("excluded").drop_duplicates(["participant_id", "session_id"])
    return table.astype(object).where(table.notna(), None).to_dict("records")


def foresee(desk, stages):
    """Say what each of several stages would do, as far as can be known before they run.

    Parameters
    ----------
    desk : Desk
    stages : sequence of str
        In their order.

    Returns
    -------
    dict of str to str
        Stage to what `state` says; what is finished may not stay so once a stage before it runs.

    Raises
    ------
    InputError, ToolError
        If the first stage that would run would be refused.
    """
    states = {}
    check_upstream(desk, stages[0])
    for stage in stages:
        sure = all(words == "finished" for words in states.values())
        words = state(desk, stage)
        if sure and words != "finished":
            getattr(module(stage), "check", lambda desk: None)(desk)
        states[stage] = words if sure or words != "finished" else f"{words}, {UNSURE}"
    return states


def _say_claims(desk):
    """Say which regions differ, and what the evidence of each model adds to brain size."""
    from bids_sexclf.report.claims import say_added, say_differences

    lines, goal = [], targets.find(desk.study.target)
    if (desk.folder / "differences.tsv").exists() and goal.by_region:
        differing = say_differences(desk.read("differences"), desk.study.interval_level)
        lines += [finding.text for finding in differing]
    if (desk.folder / "added.tsv").exists():
        rows = desk.read("added").query("confounds == 'brain_volume_ml'")
        for pair, rows_of_pair in rows.groupby(["model", "map"], sort=False):
            lines += [
                f"{name_pair(*pair)}: {finding.text}"
                for finding in say_added(rows_of_pair, goal.noun)
            ]
    return lines


def findings(desk):
    """Say in a few lines what a study found.

    Parameters
    ----------
    desk : Desk

    Returns
    -------
    list of str
    """
    from bids_sexclf.stats.regional import find_strongest, is_named

    lines = [*warnings_of(desk), *_say_claims(desk)]
    if (desk.folder / "scores.tsv").exists():
        goal = targets.find(desk.study.target)
        title = goal.main_title
        scores = desk.read("scores").query(f"score == '{goal.main_score}' and part == 'test'")
        for row in scores.itertuples():
            who = name_pair(row.model, row.map)
            interval = f" [{row.ci_low:.2f}, {row.ci_high:.2f}]"
            interval = interval if row.ci_low == row.ci_low else ""  # a constant score has none
            lines.append(f"{who}: {title} {row.estimate:.2f}{interval}, p {row.p:.2g}, n {row.n}")
    if (desk.folder / "regions.tsv").exists():
        regions = desk.read("regions").query("n_participants > 0 and p_fwe == p_fwe")
        for (model, which), rows in regions.groupby(["model", "map"], sort=False):
            top, named = find_strongest(rows), int(is_named(rows).sum())
            leans = f"leans on {named} of" if named else "is not shown to lean on any of"
            lines.append(
                f"{model} on {which} {leans} {len(rows)} regions; top: {top['name']} (drop "
                f"{top['mean']:.3f}, family-wise p {top['p_fwe']:.2g})"
            )
    if (desk.folder / "report.html").exists():
        lines.append(f"report: {desk.folder / 'report.html'}")
    return lines
