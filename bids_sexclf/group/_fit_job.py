"""Fit one job: read its inputs, train its model, and save the bundle and the tables.

Every file is written whole; the note that says that the job is finished comes last.
"""

from typing import NamedTuple

import numpy as np

from bids_sexclf import targets
from bids_sexclf.bundle import FOLDER, Bundle, adjustment
from bids_sexclf.cohort import features
from bids_sexclf.cohort.arrays import mean_path
from bids_sexclf.cohort.provenance import read_provenance
from bids_sexclf.errors import InputError
from bids_sexclf.group._dealt import TABLE, deal_targets
from bids_sexclf.group._inputs import inputs, part_rows
from bids_sexclf.group._jobs import is_fitted, mark, note_fit, working_on
from bids_sexclf.group.splits import check_splits
from bids_sexclf.layout import versions
from bids_sexclf.tables import read_table, schema, write_table
from bids_sexclf.volumes import Grid, load

KEYS = ["model", "map", "repeat", "fold"]
EARLIER = ("model.json", "adjustment.json", "trees.json") + tuple(
    f"{name}.safetensors" for name in ("weights", "support", "neighbours", "adjustment")
)
"""Files of a model beside the tables, as versions without bundles saved them."""


class Material(NamedTuple):
    """What a job reads: ``parts`` are rows of the cohort, ``given`` what the model sees of them."""

    cohort: object
    splits: object
    parts: dict
    given: dict
    target: np.ndarray
    adjust: object


def _read(job):
    """Read what a job learns from and is tested on, without its confounds."""
    from bids_sexclf import models as catalogue

    cohort = read_table(job.study_folder / "cohort.tsv", "cohort")
    splits = check_splits(read_table(job.study_folder / "splits.tsv", "splits"), cohort)
    parts = {part: part_rows(job, cohort, splits, part) for part in ("train", "validation", "test")}
    entry = catalogue.entry_of(job.study, job.model)
    given = {part: inputs(job, entry, cohort, rows) for part, rows in parts.items()}
    adjust = adjustment.Adjustment()
    if entry.READS in ("volumes", "features"):  # the baselines speak for the confounds themselves
        people = {part: cohort.loc[rows] for part, rows in parts.items()}
        adjust = adjustment.learn(job.study, given["train"], people["train"])
        given = {part: adjust(values, people[part]) for part, values in given.items()}
    target = targets.find(job.study.target).code(cohort)
    if getattr(entry, "DEALT", False):
        alike = read_table(job.study_folder / TABLE, "resemblance")
        about = (job.study.target, cohort, alike, splits, job.repeat, job.study.random_seed)
        target = deal_targets(target, *about)
    return Material(cohort, splits, parts, given, target, adjust)


def _train(job, read, tell):
    """Return the fitted model of a job."""
    from bids_sexclf import models as catalogue

    model = catalogue.make(job.study, job.model)
    model.devices = job.devices
    parts, target = read.parts, read.target
    model.fit(
        read.given["train"],
        target[parts["train"]],
        validation=(read.given["validation"], target[parts["validation"]]),
        seed=job.seed,
        folder=job.folder,
        progress=lambda **message: tell(message),
        **_families(catalogue.entry_of(job.study, job.model), read.cohort, parts["train"]),
    )
    return model


def assist_fit(pair, tell):
    """Train together with the process that fits a job, and write nothing.

    Parameters
    ----------
    pair : tuple
        A ``Job``, and the ``mark`` that the first process has found for it.
    tell : callable

    Raises
    ------
    InputError
        If this process reads other files, or was given other choices.
    """
    job, known = pair
    if mark(job, read_table(job.study_folder / "splits.tsv", "splits")) != known:
        raise InputError(
            f"Found another cohort, other splits or other choices in {job.study_folder} than the "
            "first process, needed the same. Start all with one command, on folders that all see."
        )
    _train(job, _read(job), tell)


def fit_job(job, tell):
    """Fit one job, unless another process has meanwhile.

    Parameters
    ----------
    job : Job
    tell : callable
        Told a dict with ``epoch`` and ``validation_loss`` after each epoch.
    """
    with working_on(job):
        # Processes that train one network together begin together.
        if isinstance(job.devices, int):
            if is_fitted(job, read_table(job.study_folder / "splits.tsv", "splits")):
                return
        _fit(job, tell)


def _fit(job, tell):
    """Fit one job, save its weights, history and predictions; the note comes last."""
    import pandas as pd

    (job.folder / "job.json").unlink(missing_ok=True)
    read = _read(job)
    # Before the training: what is read may be replaced meanwhile.
    made_from = mark(job, read.splits)
    model = _train(job, read, tell)
    _remove_earlier(job.folder)
    bundle = make_bundle(job, read, model)
    bundle.write(job.folder / FOLDER)
    _name_pretrained(job, read.cohort, read.parts["train"])
    _save_history(job, model)
    _save_importances(job, model, read.cohort)
    frames = []
    for part in ("validation", "test"):
        rows, evidence = read.parts[part], model.evidence(read.given[part])
        people = read.cohort.loc[rows, ["participant_id", "session_id"]]
        target = read.target[rows]
        frames.append(people.assign(**job.keys, part=part, target=target, evidence=evidence))
    columns = [*KEYS, "participant_id", "session_id", "part", "target", "evidence"]
    write_table(pd.concat(frames)[columns], job.folder / "predictions.tsv", "predictions")
    note_fit(job, made_from)


def _remove_earlier(folder):
    """Remove the files of a model that an earlier version saved without a bundle."""
    for name in EARLIER:
        (folder / name).unlink(missing_ok=True)


def make_bundle(job, read, model):
    """Put a fitted model together with all that it needs to answer for a new participant.

    Parameters
    ----------
    job : Job
    read : Material
    model : Classifier
        Fitted.

    Returns
    -------
    bundle.Bundle
    """
    design = job.study.variant(job.model)[0]
    people = {
        part: sorted(set(read.cohort.loc[rows, "participant_id"]))
        for part, rows in read.parts.items()
    }
    known = {"participants": people, "versions": versions()}
    if job.map == "table":
        columns = tuple(getattr(read.given["train"], "names", None) or _columns(job))
        return Bundle(design, model, read.adjust, columns=columns, **known)
    about, names = read_provenance(job.study_folder), job.map.split("+")
    mask, affine = load(job.study_folder / "grid" / "mask.nii.gz", ndim=3)
    means = {f"mean_{name}": load(mean_path(job.study_folder, name), ndim=3)[0] for name in names}
    maps = {name: dict(about["maps"][name]) for name in names}
    return Bundle(
        design,
        model,
        read.adjust,
        {name: maps[name].pop("scaling") for name in names},
        Grid(mask.shape, affine),
        tuple(names),
        {"space": about["space"], "resolution": about["resolution"]},
        maps,
        arrays={"mask": (mask > 0).astype(np.uint8)} | means,
        **known,
    )


def _columns(job):
    """Name the columns of the cohort that a baseline reads."""
    from bids_sexclf import models as catalogue

    return catalogue.entry_of(job.study, job.model).READS


def _name_pretrained(job, cohort, rows):
    """Write beside an encoder that was pretrained here whom it knows."""
    from bids_sexclf.training.outside import write_card

    encoder = job.folder / "encoder.safetensors"
    if encoder.exists():
        write_card(encoder, cohort.loc[rows, "participant_id"])


def _families(entry, cohort, rows):
    """Return models that search their settings in inner folds who must stay together."""
    if not getattr(entry, "NESTED", False):
        return {}
    family = cohort["family_id"].fillna(cohort["participant_id"])
    return {"groups": family.astype(str).to_numpy()[rows]}


def _save_importances(job, model, cohort):
    """Save the importance of each feature with what the feature is of."""
    import pandas as pd

    path = job.folder / "importances.tsv"
    path.unlink(missing_ok=True)
    rows = getattr(model, "importances", [])
    if rows:
        _, about = features.read_features(job.study, job.study_folder, cohort)
        table = pd.DataFrame(rows).merge(about, on="feature", how="left").assign(**job.keys)
        write_table(table[list(schema("importances"))], path, "importances")


def _save_history(job, model):
    import pandas as pd

    columns = list(schema("history"))
    rows = [job.keys | entry for entry in model.history]
    write_table(pd.DataFrame(rows, columns=columns), job.folder / "history.tsv", "history")
