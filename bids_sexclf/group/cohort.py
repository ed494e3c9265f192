"""Gather who can be studied. Reads participants.tsv and sub-*/; writes cohort.tsv and five more.

The others are excluded.tsv, quality.tsv, morphometry.tsv, resemblance.tsv (pairs that may be
related) and, where asked, region_means.tsv: every map averaged over the regions of the atlas.
"""

from pathlib import Path

from bids_sexclf import layout, targets
from bids_sexclf.anatomy.acpc import SPACE as NATIVE
from bids_sexclf.cohort import exclusions, morphometry
from bids_sexclf.cohort.arrays import array_path, write_arrays
from bids_sexclf.cohort.coverage import find_coverage
from bids_sexclf.cohort.grids import (
    find_atlas_files,
    find_common_grids,
    write_grid,
    write_native_grid,
)
from bids_sexclf.cohort.maps import ENTRIES, find_maps, find_space
from bids_sexclf.cohort.provenance import write_provenance
from bids_sexclf.cohort.quality import check_gate, find_ratings, gather_quality, judge_quality
from bids_sexclf.cohort.region_means import TABLE, Averager
from bids_sexclf.cohort.resemblance import write_resemblance
from bids_sexclf.errors import InputError
from bids_sexclf.people import NO_ROW, read_column, read_participants, without_years
from bids_sexclf.quality import KEYS, numbers, read_quality
from bids_sexclf.tables import write_table
from bids_sexclf.texts import count_sexes
from bids_sexclf.volumes import load, open_cohort

READS = ()
WRITES = ("cohort.tsv", "excluded.tsv", "quality.tsv", "morphometry.tsv", "resemblance.tsv")
ALSO = ("region_means.tsv", "grid/*", "arrays/*.npy")
PEOPLE, EXCLUDED = ("participants.tsv", "participants.json"), "excluded.tsv"
PASSING = (f"prepared/{EXCLUDED}",)
"""What the participant level goes on writing; it says nothing about those who are studied."""
VERDICTS = "ratings"
"""The table of a person's verdicts."""
YEARS = f"ages in years of {PEOPLE[0]}"
"""Names the table of people once more where those without an age in years are left out."""
SETTINGS = (
    "maps",
    "voxel_size",
    "atlas",
    "atlas_labels",
    "region_means",
    "sex_column",
    "sex_codes",
    "quality_limits",
    "quality_outliers",
    "ratings",
)
NUMBERS = (
    "brain_volume_ml",
    "grey_volume_ml",
    "white_volume_ml",
    "csf_volume_ml",
    "intracranial_volume_ml",
    "motion_mm",
    "registration_agreement",
    "snr",
)


def files(desk):
    """Name what the stage reads outside the study: tables, maps, references and the atlas."""
    people = layout.find_derivatives(desk.derivatives, "quality")
    paths = [entry["path"] for entry in people]
    paths += [entry["path"] for entry in layout.find_derivatives(desk.derivatives, "morphometry")]
    found, spaces = find_maps(desk)
    paths += [path for maps in found.values() for path in maps.values()]
    for entry in dict.fromkeys(ENTRIES[name] for name in desk.study.single_maps):
        masks = find_coverage(desk.derivatives, entry)
        paths += [path for key, path in masks.items() if key in found]
    space, resolution = find_space(spaces)
    if space not in (None, NATIVE):
        paths += [
            Path(layout.reference(kind, space, resolution)).as_posix()
            for kind in ("brain", "mask", "white")
        ]
    labels = [*(f"bids/{name}" for name in PEOPLE), f"prepared/{EXCLUDED}", VERDICTS]
    labels += [f"prepared/{path}" for path in paths]
    freesurfer = desk.run.derivatives_of("freesurfer")
    labels += [
        f"freesurfer/{path.relative_to(freesurfer).as_posix()}"
        for path in morphometry.list_stats(desk, people)
    ]
    if _needs_years(desk.study):
        labels.append(YEARS)
    column = targets.find(desk.study.target).column
    if column not in ("sex", "age_years"):
        labels.append(f"needed/{column}")
    labels += [f"atlas/{kind}" for kind in find_atlas_files(desk)]
    return {label: locate(desk, label) for label in labels}


def locate(desk, label):
    """Find a file that the stage reads by its label, however the folders are spelt this time."""
    place, _, path = label.partition("/")
    if label == VERDICTS:
        return find_ratings(desk)
    if label == YEARS:
        return desk.bids_dir / PEOPLE[0]
    if place == "atlas":
        return find_atlas_files(desk).get(path, "")
    folder = {
        "bids": desk.bids_dir,
        "prepared": desk.derivatives,
        "freesurfer": desk.run.derivatives_of("freesurfer"),
    }.get(place)
    return "" if folder is None else folder / path


def add_target(desk, people, faults):
    """Add the column that a study learns, where it is not one of those that every study reads.

    Parameters
    ----------
    desk : base.Desk
    people : pandas.DataFrame
        As `people.read_participants` returns it.
    faults : dict
        Participant to what is wrong with its row.

    Returns
    -------
    people : pandas.DataFrame
    faults : dict

    Raises
    ------
    InputError
        If participants.tsv has no such column.
    """
    goal = targets.find(desk.study.target)
    if goal.column in people:
        return people, faults
    cells = read_column(desk.bids_dir, goal.column)
    people = people.assign(**{goal.column: goal.decode(people["participant_id"].map(cells))})
    unknown = goal.find_unknown(people)
    return people, faults | {key: [*faults.get(key, []), why] for key, why in unknown.items()}


def _needs_years(study):
    """Say whether a study reads ages in years, so that an age band is not enough."""
    return "age" in study.residualize or targets.find(study.target).column == "age_years"


def check(desk):
    """Refuse limits and verdicts on quality that cannot be read, before anything is computed."""
    check_gate(desk)


def run(desk, advance):
    """Gather participants, quality numbers and maps, and write the cohort arrays.

    Parameters
    ----------
    desk : base.Desk
    advance : callable
        Told (done, total).

    Raises
    ------
    InputError
        If no participant has every map, only one sex is left, or the atlas does not fit.
    """
    people, faults = read_participants(desk.bids_dir, coding=desk.study)
    if _needs_years(desk.study):
        faults = {person: [why] for person, why in without_years(people).items()} | faults
    people, faults = add_target(desk, people, faults)
    found, spaces = find_maps(desk)
    space, resolution = find_space(spaces)
    qualities, broken = read_quality(desk.derivatives, dict.fromkeys((*numbers(), *NUMBERS)))
    sessions = {*found, *exclusions.list_left_out(desk.derivatives)}
    verdicts, refused = judge_quality(desk, qualities, sessions, people["participant_id"])
    measures, intracranial, unread = morphometry.read_measures(desk, found)
    maps = desk.study.single_maps
    grids, odd = find_common_grids(desk.derivatives, found, maps)
    good = {key: paths for key, paths in found.items() if key not in refused}
    rows, excluded = select(people, faults, good, maps, (broken, unread, odd), desk.derivatives)
    excluded += [(*key, "quality", reason) for key, reason in refused.items()]
    excluded += exclusions.list_unprepared(people, faults, found, desk.derivatives)
    cohort = _table(rows, people, qualities, maps)
    _check_cohort(cohort, excluded, desk)
    if space == NATIVE:
        grid = write_native_grid(desk, grids[maps[0]])
    else:
        grid = write_grid(desk, space, resolution)
    averager = _averager(desk, space, resolution)
    bad = write_arrays(desk, cohort, grid, advance, averager)
    if bad:
        excluded += [
            (cohort["participant_id"][i], cohort["session_id"][i], "cohort", why)
            for i, why in bad.items()
        ]
        cohort = cohort.drop(index=list(bad)).reset_index(drop=True)
        _check_cohort(cohort, excluded, desk)
        averager = _averager(desk, space, resolution)
        write_arrays(desk, cohort, grid, advance, averager)
    write_provenance(desk, cohort, space, resolution)
    exclusions.write_excluded(desk, excluded)
    if averager:
        averager.write(desk.folder)
    else:  # where a run was killed, no note names the table of another run
        for path in (desk.folder / TABLE, (desk.folder / TABLE).with_suffix(".json")):
            path.unlink(missing_ok=True)
    sessions = cohort["session_id"].where(cohort["session_id"].notna(), None)
    studied = list(zip(cohort["participant_id"], sessions, strict=True))
    if desk.run.derivatives_of("freesurfer") is not None:  # a cohort has one definition
        cohort["intracranial_volume_ml"] = [intracranial[key] for key in studied]
    measured = morphometry.gather(measures, studied)
    write_table(measured, desk.folder / "morphometry.tsv", "morphometry")
    _compare(desk, cohort)
    quality = gather_quality(qualities, verdicts, set(studied))
    write_table(quality, desk.folder / "quality.tsv", "quality")
    write_table(cohort, desk.folder / "cohort.tsv", "cohort")


def _compare(desk, cohort):
    """Write which of the cohort resemble each other like relatives."""
    inside = load(desk.folder / "grid" / "mask.nii.gz", ndim=3)[0] > 0
    names = sorted(path.stem for path in (desk.folder / "arrays").glob("*.npy"))
    arrays = {
        name: open_cohort(array_path(desk.folder, name)) for name in names if name in cohort.columns
    }
    write_resemblance(desk.folder, cohort, arrays, inside)


def select(people, faults, found, maps, broken=(), derivatives=None):
    """Decide who can be studied.

    Parameters
    ----------
    people : pandas.DataFrame
        As `people.read_participants` gives it.
    faults : dict
        Participant to what is wrong with its row.
    found : dict
        (participant_id, session_id) to map name to path.
    maps : list of str
        Those that everyone needs.
    broken : iterable of dict
        (participant_id, session_id) to what is wrong with its files.
    derivatives : pathlib.Path, optional
        Where the files lie; a folder that may not be read is then named.

    Returns
    -------
    rows : list of tuple
        (participant_id, session_id, paths by map).
    excluded : list of tuple
        (participant_id, session_id, stage, reason).
    """
    known, rows, excluded = set(people["participant_id"]), [], []
    for (person, session), paths in sorted(
        found.items(), key=lambda item: tuple(map(str, item[0]))
    ):
        reasons = list(faults.get(person, []))
        if person not in known:
            reasons.append(NO_ROW)
        missing = [name for name in maps if name not in paths]
        if missing:
            reasons.append(f"found no {', '.join(missing)} map, needed {', '.join(maps)}")
            locked = derivatives and exclusions.find_locked(derivatives / person)
            reasons += [f"{locked} cannot be read"] if locked else []
        reasons += [faulty[person, session] for faulty in broken if (person, session) in faulty]
        if reasons:
            excluded.append((person, session, "cohort", "; ".join(reasons)))
        else:
            rows.append((person, session, paths))
    return rows, excluded


def _table(rows, people, qualities, maps):
    """Join participants, quality numbers and paths."""
    import pandas as pd

    records = []
    for person, session, paths in rows:
        records.append({"participant_id": person, "session_id": session} | paths)
    table = pd.DataFrame(records, columns=[*KEYS, *maps], dtype=object)
    table = table.merge(qualities[[*KEYS, *NUMBERS]], on=KEYS, how="left")
    table = table[[*KEYS, *NUMBERS, *maps]]
    return table.merge(people, on="participant_id", how="left")


def _check_cohort(cohort, excluded, desk):
    """Refuse a cohort that cannot answer the question."""
    counts = cohort["sex"].value_counts().to_dict()
    if min(counts.get("female", 0), counts.get("male", 0)) < 2:
        reasons = ": " + "; ".join(f"{row[0]}: {row[3]}" for row in excluded[:5])
        raise InputError(
            f"Found {count_sexes(cohort['sex'])} with "
            f"{', '.join(desk.study.single_maps)} ({len(excluded)} left out"
            f"{reasons if excluded else ''}), needed at least two of each. Prepare more "
            "participants, or choose other --maps."
        )


def _averager(desk, space, resolution):
    """Give what averages maps over the atlas's regions; or None."""
    if not desk.study.region_means or space == NATIVE:
        return None
    return Averager(desk, space, resolution)
