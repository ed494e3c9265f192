"""The stages of a study, in order, and the rules that hold between them.

``cohort`` -> ``splits`` -> ``fit`` -> ``evaluate`` -> ``attribute`` -> ``regions`` -> ``report``

A stage that has run with the same choices on the same inputs is not run again;
one whose inputs have changed is; one whose choices have changed is refused
unless it is asked for by ``--first``.
"""

import hashlib
import importlib
import json
from dataclasses import dataclass
from pathlib import Path

from bids_sexclf.disk import write_json
from bids_sexclf.errors import InputError, suggest
from bids_sexclf.group._words import name_pair
from bids_sexclf.layout import versions, write_description
from bids_sexclf.settings import Run, Study
from bids_sexclf.tables import read_table

STAGES = ("cohort", "splits", "fit", "evaluate", "attribute", "regions", "report")
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
    team : _team.Team or None
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
        out = Path(out)
        prepared = run.derivatives_of("bids_sexclf") or out
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


def module(stage):
    """Import a stage."""
    return importlib.import_module(f"bids_sexclf.group.{stage}")


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


def state(desk, stage):
    """Say what a stage would do.

    Parameters
    ----------
    desk : Desk
    stage : str

    Returns
    -------
    {"run", "finished", "inputs changed", "asked for"}

    Raises
    ------
    InputError
        If it has run with other choices and is not asked for by ``--first``.
    """
    path = _note(desk, stage)
    if desk.run.first == stage:
        return "asked for"
    if not path.exists() or not all((desk.folder / name).exists() for name in module(stage).WRITES):
        return "run"
    held = json.loads(path.read_text())
    asked = desk.study.provenance(module(stage).SETTINGS)
    other = [key for key in asked if held["settings"].get(key) != asked[key]]
    if other and not _asked_before(desk, stage):
        told = "; ".join(
            f"{key} {held['settings'].get(key)}, this run asks {asked[key]}" for key in other
        )
        raise InputError(
            f"Found {module(stage).WRITES[0]} made with {told}; needed one set of choices per "
            f"study. Run again with --first {stage}, or give the study another name."
        )
    return "finished" if not other and held["reads"] == _digests(desk, stage) else "inputs changed"


def _asked_before(desk, stage):
    return desk.run.first is not None and STAGES.index(desk.run.first) < STAGES.index(stage)


def _note(desk, stage):
    return desk.folder / "logs" / f"{stage}.json"


def _digests(desk, stage):
    """Digest what a stage reads."""
    own = getattr(module(stage), "digest", None)
    digests = {"own": own(desk)} if own else {}
    for name in module(stage).READS:
        path = desk.folder / f"{name}.tsv"
        digests[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None
    return digests


def run_stage(desk, stage, advance=None):
    """Run a stage unless it is finished, and note what it was run with.

    Parameters
    ----------
    desk : Desk
    stage : str
    advance : callable, optional
        Called with (steps done, steps in all, a note).

    Returns
    -------
    str
        What `state` said.
    """
    found = state(desk, stage)
    if found == "finished":
        return found
    missing = [name for name in module(stage).READS if not (desk.folder / f"{name}.tsv").exists()]
    if missing:
        raise InputError(
            f"Found no {', '.join(f'{name}.tsv' for name in missing)} in {desk.folder}, needed by "
            f"stage {stage}. Run the stages before it first."
        )
    # What was made from other inputs must not stand where this run leaves a part undone.
    _note(desk, stage).unlink(missing_ok=True)
    for name in module(stage).WRITES:
        (desk.folder / name).unlink(missing_ok=True)
    module(stage).run(desk, advance or (lambda done, total, note=None: None))
    if all((desk.folder / name).exists() for name in module(stage).WRITES):
        write_json(
            {
                "settings": desk.study.provenance(module(stage).SETTINGS),
                "reads": _digests(desk, stage),
                "versions": versions(),
            },
            _note(desk, stage),
        )
    return found


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
    from bids_sexclf.group._resemblance import say_relatives

    told = say_relatives(desk.read("cohort"), desk.read("resemblance"))
    return [f"warning: {told}"] if told else []


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
    stages : iterable of str
        In their order.

    Returns
    -------
    dict of str to str
        Stage to what `state` says; what is finished may not stay so once a stage before it runs.
    """
    states = {}
    for stage in stages:
        sure = all(told == "finished" for told in states.values())
        told = state(desk, stage)
        states[stage] = told if sure or told != "finished" else f"{told}, {UNSURE}"
    return states


def findings(desk):
    """Say in a few lines what a study found.

    Parameters
    ----------
    desk : Desk

    Returns
    -------
    list of str
    """
    from bids_sexclf.group._findings import CHANCE_P
    from bids_sexclf.stats.regional import find_strongest

    lines = warnings_of(desk)
    if (desk.folder / "scores.tsv").exists():
        name, title = ("auc", "AUC") if desk.study.target == "sex" else ("mae", "error in years")
        scores = desk.read("scores").query(f"score == '{name}' and part == 'test'")
        for row in scores.itertuples():
            interval = f"[{row.ci_low:.2f}, {row.ci_high:.2f}]"
            who = name_pair(row.model, row.map)
            lines.append(f"{who}: {title} {row.estimate:.2f} {interval}, p {row.p:.2g}, n {row.n}")
    if (desk.folder / "regions.tsv").exists():
        for (model, which), rows in desk.read("regions").groupby(["model", "map"], sort=False):
            top, kept = find_strongest(rows, CHANCE_P), int((rows["p_holm"] < CHANCE_P).sum())
            lines.append(
                f"{model} on {which}: {kept} of {len(rows)} regions significant after Holm; top: "
                f"{top['name']} (fall {top['mean']:.3f}, p {top['p_holm']:.2g} after Holm, effect "
                f"{top['effect_size']:.2f})"
            )
    if (desk.folder / "report.html").exists():
        lines.append(f"report: {desk.folder / 'report.html'}")
    return lines
