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
    """Choices of execution: none changes a number, except ``omp_nthreads`` the last bits."""

    participant_label: list[str] | None = choice(
        None, "Participants to run, with or without 'sub-'; all by default.", "--participant_label"
    )
    session_label: list[str] | None = choice(
        None, "Sessions to run, with or without 'ses-'; all by default.", "--session_label"
    )
    bids_filter_file: Path | None = choice(
        None,
        "JSON of BIDS entities that choose among several scans, e.g. "
        '{"t1w": {"reconstruction": "norm"}, "dwi": {"direction": "AP"}}; also t1w_mask, dwi_mask '
        "and maps, for what others have prepared.",
    )
    allow_unlabelled: bool = choice(
        False, "Also prepare participants whose sex or age is unknown, e.g. to predict them."
    )
    bids_database_dir: Path | None = choice(None, "Folder that keeps pybids' index between runs.")
    skip_bids_validation: bool = choice(False, "Also index files whose names are not valid BIDS.")
    work_dir: Path | None = choice(
        None, "Folder for intermediate files; needed to resume. OUTPUT_DIR/work by default.", "-w"
    )
    clean_workdir: bool = choice(
        False,
        "Remove the intermediate files of each participant-session of this run that is finished; "
        "everything else in the work folder stays.",
    )
    nprocs: int | None = choice(
        None, "Processes; all processors by default.", "--n-procs", minimum=1, maximum=4096
    )
    omp_nthreads: int = choice(
        1,
        "Threads per process. Maps are the same at any count (ANTs always runs with one). Networks "
        "differ in their last bits: a study is fitted and attributed with one count, which is "
        "noted.",
        minimum=1,
        maximum=1024,
    )
    mem: float | None = choice(
        None,
        "Memory to plan for, GB; 90 % of what is free by default.",
        "--mem-gb",
        minimum=0.5,
        maximum=1_000_000,
    )
    use_plugin: Path | None = choice(None, "Nipype plugin file (YAML: plugin, plugin_args).")
    devices: int = choice(
        1,
        "Graphics cards of each machine that train one network together (processes, where there "
        "is none); jobs then run one after the other.",
        minimum=1,
        maximum=1024,
    )
    num_nodes: int | None = choice(
        None,
        "Machines that train one network together, where this command is started once per device "
        "on each of them by srun, torchrun or hand (docs/networks.md); they must see the same "
        "folders. Without it one command starts all processes, on its own machine.",
        minimum=1,
        maximum=100_000,
    )
    dask_scheduler: str | None = choice(
        None,
        "Address of a Dask scheduler (tcp://...), whose workers fit and attribute; they must see "
        "the same folders.",
    )
    dry_run: bool = choice(False, "List what would run, and stop.")
    config_file: Path | None = choice(None, "TOML file with any of these choices.")
    reports_only: bool = choice(False, "Write the reports again from what is there.")
    boilerplate_only: bool = choice(False, "Write the methods text, and nothing else.")
    verbose: int = choice(0, "Say more; twice for everything.", "-v", minimum=0, maximum=100)
    first: str | None = choice(None, "First group stage to run, again if it has run before.")
    last: str | None = choice(None, "Last group stage to run.")
    folds: list[Annotated[int, Field(ge=1, le=10_000)]] | None = choice(
        None, "Only these folds, counted from 1, of the fit and attribute stages.", once=True
    )
    derivatives: list[str] | None = choice(
        None,
        "What others have prepared, as NAME=PATH; steps already done are not repeated. "
        + "; ".join(f"{name}: {about['holds']}" for name, about in DERIVATIVES.items())
        + ". HCP and CC-359 need no BIDS dataset: give their folder as BIDS_DIR too. HCP needs a "
        "participants.tsv in it (participant_id, sex, age); CC-359 tells sex and age by its file "
        "names.",
    )
    atlas_dir: Path | None = choice(
        None, "Folder that holds atlas images and their label tables, beside the known places."
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
