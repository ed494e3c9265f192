"""Refuse folders in which a run could damage raw data, its own results, or another dataset."""

import json

from bids_sexclf.disk import lies_in
from bids_sexclf.errors import InputError


def check_places(bids_dir, out, run):
    """Refuse folders in which the program could damage the dataset or its own results.

    Parameters
    ----------
    bids_dir, out : pathlib.Path
    run : settings.Run

    Raises
    ------
    InputError
        If the output folder is the dataset or lies among its raw files; or if the work folder
        overlaps with the dataset, with derivatives of other tools, or with the results.
    """
    check_owner(out)
    derivatives = bids_dir / "derivatives"
    _check_database(run.bids_database_dir, bids_dir, derivatives)
    if lies_in(out, bids_dir) and not lies_in(out, derivatives):
        raise InputError(
            f"Found output folder {out.resolve()} inside the BIDS folder, needed one outside it "
            f"or below its derivatives. Use for example {derivatives.resolve() / 'bids_sexclf'}."
        )
    default = out / "work"
    work = run.work_dir or default
    # The default folder may be a link: then check its target.
    is_own = lies_in(work, default) and lies_in(default, out)
    if lies_in(out, work):
        raise InputError(
            f"Found work folder {work.resolve()}, which is or holds the output folder "
            f"{out.resolve()}; needed a folder of its own. Leave -w out, or give another folder."
        )
    if lies_in(work, out) and not is_own:
        raise InputError(
            f"Found work folder {work.resolve()} among the results in {out.resolve()}, needed "
            f"another one. Leave -w out (it is then {default.resolve()}), or give another folder."
        )
    prepared = {name: path for name, path in run.folders().items() if name != "bids_sexclf"}
    for name, folder in {"the BIDS folder": bids_dir, **prepared}.items():
        if lies_in(folder, work) or (lies_in(work, folder) and not is_own):
            raise InputError(
                f"Found work folder {work.resolve()}, which is, holds or lies inside {name} "
                f"({folder.resolve()}); needed one apart from it. Give another folder with -w."
            )


def _check_database(folder, bids_dir, derivatives):
    """Refuse to write an index among raw files."""
    if folder is None or not lies_in(folder, bids_dir) or lies_in(folder, derivatives):
        return
    raise InputError(
        f"Found --bids-database-dir {folder.resolve()} inside the BIDS folder, needed a folder "
        "outside it: raw data are never written to. Give another folder, or leave it out."
    )


def check_owner(out):
    """Refuse an output folder that holds a dataset of another program.

    Parameters
    ----------
    out : pathlib.Path

    Raises
    ------
    InputError
        If its dataset_description.json does not say that this program has made it, or is
        damaged.
    OSError
        If it cannot be read.
    """
    path = out / "dataset_description.json"
    if not path.exists():
        return
    try:
        about = json.loads(path.read_text())
        makers = [maker.get("Name") for maker in about.get("GeneratedBy") or []]
        makers = makers if makers and about.get("DatasetType") != "raw" else ["its scanner (raw)"]
    except (ValueError, AttributeError, TypeError, RecursionError) as fault:
        raise InputError(
            f"Found {path.resolve()}, which does not tell who has made this folder (it is damaged: "
            f"{' '.join(str(fault).split())[:200]}); needed a JSON object with GeneratedBy. If "
            "bids_sexclf has made the folder, remove this one file, and it is written anew; else "
            "give another output folder."
        ) from fault
    if makers[0] != "bids_sexclf":
        raise InputError(
            f"Found output folder {out.resolve()}, which holds a dataset made by "
            f"{', '.join(map(str, makers))}; needed a new folder, or one that bids_sexclf has "
            "made. Give another output folder."
        )
