"""Stage ``cohort``: reads participants.tsv and sub-*/; writes cohort.tsv and five other tables.

These are excluded.tsv, quality.tsv, morphometry.tsv, resemblance.tsv (pairs that may be related)
and optionally region_means.tsv (every map averaged over the regions of the atlas).
"""

from pathlib import Path

from bids_sexclf import layout, targets
from bids_sexclf.anatomy.acpc import SPACE as NATIVE
from bids_sexclf.cohort import exclusions, features, morphometry, tabular
from bids_sexclf.cohort.arrays import array_path, write_arrays
from bids_sexclf.cohort.brain_size import read_asked
from bids_sexclf.cohort.coverage import find_coverage
from bids_sexclf.cohort.grids import (
    find_atlas_files,
    find_common_grids,
    write_grid,
    write_native_grid,
)
from bids_sexclf.cohort.maps import ENTRIES, find_maps, find_space
from bids_sexclf.cohort.members import NUMBERS, check_cohort, make_table
from bids_sexclf.cohort.people import needs_years, read_people
from bids_sexclf.cohort.provenance import write_provenance
from bids_sexclf.cohort.quality import check_gate, find_ratings, gather_quality, judge_quality
from bids_sexclf.cohort.region_means import TABLE, Averager
from bids_sexclf.cohort.resemblance import write_resemblance
from bids_sexclf.people import list_files
from bids_sexclf.quality import numbers, read_quality
from bids_sexclf.tables import write_table
from bids_sexclf.volumes import load, open_cohort

READS = ()
WRITES = ("cohort.tsv", "excluded.tsv", "quality.tsv", "morphometry.tsv", "resemblance.tsv")
ALSO = ("region_means.tsv", "grid/*", "arrays/*.npy")
EXCLUDED = "excluded.tsv"
PASSING = (f"prepared/{EXCLUDED}",)
"""What the participant level goes on writing; it says nothing about those who are studied."""
FEATURES = "features"
"""The table that tells who is studied where there are no maps."""
VERDICTS = "ratings"
"""The table of a person's verdicts."""
YEARS = "ages in years of participants.tsv"
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
    "brain_size_column",
)


def files(desk):
    """Return the files that the stage reads outside the study: tables, maps, references, atlas."""
    people = layout.find_derivatives(desk.derivatives, "quality")
    paths = [entry["path"] for entry in people]
    if not desk.study.maps:
        keys = ("participant_id", "session_id")
        people = [dict(zip(keys, key, strict=True)) for key in morphometry.list_people(desk)]
    paths += [entry["path"] for entry in layout.find_derivatives(desk.derivatives, "morphometry")]
    paths_by_session, spaces = find_maps(desk) if desk.study.maps else ({}, set())
    paths += [path for maps in paths_by_session.values() for path in maps.values()]
    for entry in dict.fromkeys(ENTRIES[name] for name in desk.study.single_maps):
        masks = find_coverage(desk.derivatives, entry)
        paths += [path for key, path in masks.items() if key in paths_by_session]
    space, resolution = find_space(spaces)
    if space not in (None, NATIVE):
        paths += [
            Path(layout.reference(kind, space, resolution)).as_posix()
            for kind in ("brain", "mask", "white")
        ]
    labels = [
        *(f"bids/{name}" for name in list_files(desk.bids_dir)),
        f"prepared/{EXCLUDED}",
        VERDICTS,
    ]
    labels += [f"prepared/{path}" for path in paths]
    labels += morphometry.list_stats(desk, people)
    if not desk.study.maps and desk.study.features not in features.OWN:
        labels.append(FEATURES)
    if needs_years(desk.study):
        labels.append(YEARS)
    column = targets.find(desk.study.target).column
    if column not in ("sex", "age_years"):
        labels.append(f"needed/{column}")
    labels += [f"atlas/{kind}" for kind in find_atlas_files(desk)]
    return {label: locate(desk, label) for label in labels}


def locate(desk, label):
    """Find an input file of the stage by its label, for any spelling of the folders."""
    place, _, path = label.partition("/")
    if label == VERDICTS:
        return find_ratings(desk)
    if label == FEATURES:
        return features.source(desk.study, desk.folder)
    if label == YEARS:
        return desk.bids_dir / "participants.tsv"
    if place == "atlas":
        return find_atlas_files(desk).get(path, "")
    folder = {
        "bids": desk.bids_dir,
        "prepared": desk.derivatives,
        **morphometry.list_folders(desk.run),
    }.get(place)
    return "" if folder is None else folder / path


def check(desk):
    """Refuse invalid quality limits and ratings, before anything is computed."""
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
        If no participant has all maps, only one sex remains, or the atlas does not fit.
    """
    if not desk.study.maps:
        _run_tables(desk, advance)
        return
    people, faults = read_people(desk)
    paths_by_session, spaces = find_maps(desk)
    space, resolution = find_space(spaces)
    qualities, broken = read_quality(desk.derivatives, dict.fromkeys((*numbers(), *NUMBERS)))
    sessions = {*paths_by_session, *exclusions.list_left_out(desk.derivatives)}
    verdicts, refused = judge_quality(desk, qualities, sessions, people["participant_id"])
    measures, intracranial, unread = morphometry.read_measures(desk, paths_by_session)
    maps = desk.study.single_maps
    grids, odd = find_common_grids(desk.derivatives, paths_by_session, maps)
    good = {key: paths for key, paths in paths_by_session.items() if key not in refused}
    sizes, lacking = read_asked(desk, paths_by_session)
    strange = (broken, unread, odd, lacking)
    rows, excluded = exclusions.select(people, faults, good, maps, strange, desk.derivatives)
    excluded += [(*key, "quality", reason) for key, reason in refused.items()]
    excluded += exclusions.list_unprepared(people, faults, paths_by_session, desk.derivatives)
    cohort = make_table(rows, people, qualities, maps)
    if sizes:
        cohort["brain_volume_ml"] = [sizes[person, session] for person, session, _ in rows]
    check_cohort(cohort, excluded, desk.study)
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
        check_cohort(cohort, excluded, desk.study)
        averager = _averager(desk, space, resolution)
        write_arrays(desk, cohort, grid, advance, averager)
    write_provenance(desk, cohort, space, resolution)
    exclusions.write_excluded(desk, excluded)
    if averager:
        averager.write(desk.folder)
    else:  # after a killed run, no note may name the table of another run
        for path in (desk.folder / TABLE, (desk.folder / TABLE).with_suffix(".json")):
            path.unlink(missing_ok=True)
    sessions = cohort["session_id"].where(cohort["session_id"].notna(), None)
    studied = list(zip(cohort["participant_id"], sessions, strict=True))
    # A cohort has one definition of it.
    if desk.run.derivatives_of("freesurfer") or any(intracranial.values()):
        cohort["intracranial_volume_ml"] = [intracranial[key] for key in studied]
    measured = morphometry.gather(measures, studied)
    write_table(measured, desk.folder / "morphometry.tsv", "morphometry")
    _compare(desk, cohort)
    quality = gather_quality(qualities, verdicts, set(studied))
    write_table(quality, desk.folder / "quality.tsv", "quality")
    write_table(cohort, desk.folder / "cohort.tsv", "cohort")


def _run_tables(desk, advance):
    """Gather the cohort of a study of tables alone; remove what a study of maps has left."""
    tables, excluded = tabular.gather(desk)
    for pattern in ALSO:
        for path in desk.folder.glob(pattern):
            path.unlink()
    exclusions.write_excluded(desk, excluded)
    for name, table in tables.items():
        write_table(table, desk.folder / f"{name}.tsv", name)
    advance(1, 1)


def _compare(desk, cohort):
    """Write the pairs of the cohort that are as similar as relatives."""
    inside = load(desk.folder / "grid" / "mask.nii.gz", ndim=3)[0] > 0
    names = sorted(path.stem for path in (desk.folder / "arrays").glob("*.npy"))
    arrays = {
        name: open_cohort(array_path(desk.folder, name)) for name in names if name in cohort.columns
    }
    write_resemblance(desk.folder, cohort, arrays, inside)


def _averager(desk, space, resolution):
    """Return the averager of maps over the regions of the atlas, or None."""
    if not desk.study.region_means or space == NATIVE:
        return None
    return Averager(desk, space, resolution)
