"""Choices of execution."""

import json
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from bids_sexclf.errors import suggest
from bids_sexclf.settings.records import Record, choice

DERIVATIVES = json.loads((Path(__file__).parents[1] / "data" / "derivatives.json").read_text())
"""What others may have prepared: name in ``--derivatives NAME=PATH`` to what is read from it."""


class Run(Record):
    """Execution: no choice changes a number, except ``omp_nthreads`` the last bits."""

    participant_label: list[str] | None = choice(
        None, "Participants to run, with or without 'sub-'; all by default.", "--participant_label"
    )
    session_label: list[str] | None = choice(
        None, "Sessions to run, with or without 'ses-'; all by default.", "--session_label"
    )
    bids_filter_file: Path | None = choice(
        None,
        'JSON of BIDS entities that select scans, e.g. {"t1w": {"reconstruction": "norm"}, '
        '"dwi": {"direction": "AP"}}; also t1w_mask, dwi_mask and maps, for derivatives of '
        "other tools.",
    )
    allow_unlabelled: bool = choice(
        False, "Also prepare participants whose sex or age is unknown, e.g. to predict them."
    )
    bids_database_dir: Path | None = choice(
        None, "Folder that stores the index of pybids between runs."
    )
    skip_bids_validation: bool = choice(False, "Also index files whose names are not valid BIDS.")
    work_dir: Path | None = choice(
        None, "Folder for intermediate files; needed to resume. OUTPUT_DIR/work by default.", "-w"
    )
    clean_workdir: bool = choice(
        False,
        "Remove the intermediate files of each participant-session that this run has "
        "finished; keep all other files of the work folder.",
    )
    nprocs: int | None = choice(
        None, "Processes; all processors by default.", "--n-procs", minimum=1, maximum=4096
    )
    omp_nthreads: int = choice(
        1,
        "Threads per process. Maps do not depend on it (ANTs always runs with one thread). "
        "Networks differ in the last bits: one study is fitted and attributed with one count, "
        "which is recorded.",
        minimum=1,
        maximum=1024,
    )
    mem: float | None = choice(
        None,
        "Memory that the run may use, GB; 90 % of the free memory by default.",
        "--mem-gb",
        minimum=0.5,
        maximum=1_000_000,
    )
    use_plugin: Path | None = choice(None, "Nipype plugin file (YAML: plugin, plugin_args).")
    devices: int = choice(
        1,
        "Graphics cards of each machine that train one network together (processes, if there "
        "is no card); jobs then run one after the other.",
        minimum=1,
        maximum=1024,
    )
    num_nodes: int | None = choice(
        None,
        "Machines that train one network together. Start this command once per device on each "
        "machine, by srun, torchrun or hand (docs/networks.md); all machines need the same "
        "folders. Without it, one command starts all processes on its own machine.",
        minimum=1,
        maximum=100_000,
    )
    dask_scheduler: str | None = choice(
        None,
        "Address of a Dask scheduler (tcp://...); its workers run the stages fit and "
        "attribute, and need the same folders.",
    )
    dry_run: bool = choice(False, "List what would run, and stop.")
    config_file: Path | None = choice(None, "TOML file with any of these choices.")
    reports_only: bool = choice(False, "Write the reports again from existing results.")
    boilerplate_only: bool = choice(False, "Write the methods text only.")
    verbose: int = choice(0, "Print more messages; twice prints all.", "-v", minimum=0, maximum=100)
    first: str | None = choice(
        None, "First group stage to run; it is repeated if it has run before."
    )
    last: str | None = choice(None, "Last group stage to run.")
    folds: list[Annotated[int, Field(ge=1, le=10_000)]] | None = choice(
        None, "Run only these folds, counted from 1, in the stages fit and attribute.", once=True
    )
    derivatives: list[str] | None = choice(
        None,
        "What others have prepared, as NAME=PATH; steps already done are not repeated. "
        + "; ".join(f"{name}: {about['holds']}" for name, about in DERIVATIVES.items())
        + ". HCP and CC-359 need no BIDS dataset: give their folder as BIDS_DIR too. HCP needs its "
        "tables in it, unrestricted and restricted as downloaded, or a participants.tsv; CC-359 "
        "tells sex and age by its file names.",
    )
    atlas_dir: Path | None = choice(
        None, "Folder with atlas images and their label tables; it is searched first."
    )

    @field_validator("folds")
    @classmethod
    def _some(cls, labels):
        if labels is not None and not labels:
            raise ValueError("needed at least one fold")
        return labels

    @field_validator("derivatives")
    @classmethod
    def _named(cls, entries):
        names_seen = set()
        for entry in entries or []:
            name, _, path = entry.partition("=")
            if name not in DERIVATIVES or not path:
                choices = ", ".join(f"{name}=PATH" for name in DERIVATIVES)
                raise ValueError(f"{entry} is none of {choices}.{suggest([name], DERIVATIVES)}")
            if name in names_seen:
                raise ValueError(f"{name} is given twice, needed one folder for each name")
            names_seen.add(name)
        return entries

    @field_validator("dask_scheduler")
    @classmethod
    def _one_way_over_machines(cls, scheduler, info):
        if scheduler is not None and info.data.get("num_nodes") is not None:
            raise ValueError("one job per worker goes not with num_nodes, one job over all")
        return scheduler

    def folders(self):
        """Return the folders of ``--derivatives``: name to path, in the order of the user.

        Returns
        -------
        dict of str to pathlib.Path
        """
        named = (entry.split("=", 1) for entry in self.derivatives or [])
        return {name: Path(path).expanduser() for name, path in named}

    def atlas_folders(self):
        """List the folders that are searched first for atlases."""
        return [self.atlas_dir] if self.atlas_dir else []

    def derivatives_of(self, name):
        """Return the path of ``--derivatives NAME=PATH``, or None."""
        return self.folders().get(name)
