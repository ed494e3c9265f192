"""Find the files of other tools on disk.

``data/derivatives.json`` holds the file names of each tool; this module adds
only those of the HCP's folders and of CC-359's files.
"""

import os
import re
from pathlib import Path

from bids_sexclf.errors import InputError
from bids_sexclf.layout import ENTITIES, choose_scans, parse_name
from bids_sexclf.settings import DERIVATIVES

CC359 = re.compile(r"(CC\d+)_([a-z]+)_(\d+)_(\d+)_([MF])(?:_(\w+))?\.nii(?:\.gz)?")
"""Name of a CC-359 file: number, vendor, field strength, age, sex, and what it is (none: T1w)."""

HCP = re.compile(r"(?:sub-)?([a-zA-Z0-9]+)(?:_(V\d+)_MR)?")
"""Name of a participant's folder; those of the lifespan projects tell the visit."""

CONSENSUS = ("staple", "ss")
"""Endings of CC-359's consensus masks: by STAPLE, by a learned model."""


def about(name):
    """Return the entry of a kind of derivatives, completed by the entry that it extends."""
    entry = DERIVATIVES[name]
    return DERIVATIVES.get(entry.get("like"), {}) | entry


def read_by_participant(name):
    """Return whether the participant level reads scans or masks from such a folder."""
    return bool({"files", "paths"} & set(about(name))) or name == "cc359"


def holds_scans(name):
    """Return whether such a folder has its own participants, and not only masks for others."""
    return read_by_participant(name) and about(name)["frame"] != "raw"


def find_offers(folders, template, filters=None):
    """Find the files of other tools.

    Parameters
    ----------
    folders : dict of str to path-like
        Name of the tool to its output folder, the most wanted first.
    template : str
        Name of the template space; transforms to others are of no use.
    filters : dict, optional
        BIDS entities per kind of file. An entity that a name does not hold is not asked for.

    Returns
    -------
    dict
        Name to (participant_id, session_id) to kind to list of paths relative to the folder.

    Raises
    ------
    InputError
        If a folder does not exist, or holds no usable file.
    """
    offers = {}
    for name, folder in folders.items():
        if not read_by_participant(name):
            continue
        folder, title = Path(folder), about(name)["title"]
        if not folder.is_dir():
            raise InputError(
                f"Found no folder {folder}, needed {about(name)['holds']}. Correct --derivatives "
                f"{name}=PATH."
            )
        if "files" in about(name):
            offers[name] = _find_bids(folder, name, template, filters or {})
        else:
            offers[name] = _find_hcp(folder) if name == "hcp" else _find_cc359(folder)
        if not offers[name]:
            raise InputError(
                f"Found nothing in {folder} that {title} writes and this program reads, needed "
                f"{about(name)['holds']}. Correct --derivatives {name}=PATH."
            )
    return offers


def _find_bids(folder, name, template, filters):
    """Find the files of a folder of BIDS derivatives."""
    offers = {}
    for kind, specs in about(name)["files"].items():
        for spec in specs:
            for key, names in _matching(folder, spec, template, filters.get(kind, {})).items():
                # An earlier naming pattern has priority.
                offers.setdefault(key, {}).setdefault(kind, names)
    for key, cells in offers.items():
        cells |= _chosen(cells, key, folder)
    return {key: cells for key, cells in offers.items() if set(cells) - {"dwi_motion", "note"}}


def _chosen(cells, key, folder):
    """Choose among several files of one kind; add the gradients of a series."""
    chosen, notes = {}, []
    for kind, names in cells.items():
        if kind != "maps":
            chosen[kind], note = choose_scans(names, only_first=kind != "dwi")
            notes += [note] if note else []
    chosen["note"] = notes
    if "maps" in cells:
        chosen["maps"] = _choose_maps(cells["maps"], key, folder)
    for extension in ("bval", "bvec"):
        if "dwi" in chosen:
            beside = [re.sub(r"\.nii(\.gz)?$", f".{extension}", path) for path in chosen["dwi"]]
            chosen[extension] = [path for path in beside if (folder / path).exists()]
    return chosen


def _choose_maps(names, key, folder):
    """Choose one map of each quantity: in one space, from one pipeline, of the tensor fit."""
    spaces = [parse_name(path)[0]["space"] for path in names]
    names = [path for path, space in zip(names, spaces, strict=True) if space == spaces[0]]
    by_param = {}
    for path in names:
        by_param.setdefault(parse_name(path)[0]["param"], []).append(path)
    for param, paths_ in by_param.items():
        from_model = [path for path in paths_ if parse_name(path)[0]["model"] == _model(paths_)]
        homes = sorted({path.split("/sub-")[0] for path in from_model if "/sub-" in path})
        if len(homes) > 1:
            raise InputError(
                f"Found {param} maps of {key[0]} by several pipelines in {folder} "
                f"({', '.join(homes)}), needed one. Name the folder of one of them, such as "
                f"--derivatives qsirecon={folder / homes[0]}."
            )
        by_param[param], _ = choose_scans(from_model)
    return [chosen[0] for chosen in by_param.values()]


def _model(names):
    models = [parse_name(path)[0]["model"] for path in names]
    return "tensor" if "tensor" in models else models[0]


def _matching(folder, spec, template, filters):
    """Find the files that match one naming pattern, by participant-session."""
    matches, extensions = {}, [spec["extension"]] if "extension" in spec else [".nii.gz", ".nii"]
    homes = [folder, *sorted(folder.glob("derivatives/*/"))]
    wanted = {key: _filled(value, template) for key, value in spec["entities"].items()}
    filters_by_entity = {ENTITIES.get(key, key): value for key, value in filters.items()}
    for home in homes:
        for depth in ("sub-*", "sub-*/ses-*"):
            for path in sorted(home.glob(f"{depth}/{spec['folder']}/*_{spec['suffix']}.*")):
                entities, suffix, extension = parse_name(path)
                if suffix != spec["suffix"] or extension not in extensions:
                    continue
                if not all(_fits(entities.get(key), value) for key, value in wanted.items()):
                    continue
                if any(key in entities and not _fits(entities[key], value)
                       for key, value in filters_by_entity.items()):  # fmt: skip
                    continue
                session = entities.get("ses")
                key = (f"sub-{entities['sub']}", f"ses-{session}" if session else None)
                matches.setdefault(key, []).append(path.relative_to(folder).as_posix())
    for names in matches.values():
        names.sort(key=lambda path: [_rank(parse_name(path)[0], k, v) for k, v in wanted.items()])
    return matches


def _filled(value, template):
    if isinstance(value, list):
        return [_filled(entry, template) for entry in value]
    return template if value == "{template}" else value


def _fits(entity, value):
    return entity in value if isinstance(value, list) else entity == value


def _rank(entities, key, value):
    """Return the rank of an entity in a list of preferences."""
    return value.index(entities.get(key)) if isinstance(value, list) else 0


def _find_hcp(folder):
    """Find the participants' folders of the HCP pipelines."""
    offers = {}
    for person in sorted(path for path in folder.iterdir() if path.is_dir()):
        match = HCP.fullmatch(person.name)
        if not match:
            continue
        cells = {}
        for kind, names in about("hcp")["paths"].items():
            existing = [f"{person.name}/{name}" for name in names if (person / name).exists()]
            if existing:
                cells[kind] = existing[:1]
        if set(cells) & {"t1w", "dwi"}:
            session = f"ses-{match[2]}" if match[2] else None
            offers[f"sub-{match[1]}", session] = cells
    return offers


def _find_cc359(folder):
    """Find the T1w and the consensus masks of CC-359."""
    offers = {}
    for path in sorted(folder.rglob("CC*.nii*")):
        match = CC359.fullmatch(path.name)
        inside = path.relative_to(folder)
        if not match or not path.is_file():
            continue
        cells = offers.setdefault((f"sub-{match[1]}", None), {})
        # Tissue segmentations have the file name of the scan: only these folders hold scans.
        if match[6] is None and (len(inside.parts) == 1 or "Original" in path.parts):
            cells.setdefault("t1w", [inside.as_posix()])
        elif match[6] in CONSENSUS:
            cells.setdefault("t1w_mask", []).append(inside.as_posix())
    for cells in offers.values():
        if "t1w_mask" in cells:
            cells["t1w_mask"].sort(key=lambda p: CONSENSUS.index(CC359.fullmatch(Path(p).name)[6]))
            del cells["t1w_mask"][1:]
    return {key: cells for key, cells in offers.items() if "t1w" in cells}


def cc359_people(folder):
    """Return the participants named in the file names of CC-359.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    list of dict
        participant_id, sex, age, site (vendor and field strength); empty for another dataset.

    Examples
    --------
    >>> CC359.fullmatch("CC0001_philips_15_55_M.nii.gz").groups()
    ('CC0001', 'philips', '15', '55', 'M', None)
    """
    people = []
    for (person, _), cells in sorted(_find_cc359(Path(folder)).items()):
        _, vendor, tesla, age, sex, _ = CC359.fullmatch(Path(cells["t1w"][0]).name).groups()
        site = f"{vendor}{'1.5' if tesla == '15' else tesla}T"
        people.append({"participant_id": person, "sex": sex, "age": float(age), "site": site})
    return people


def is_own_folder(root, folders):
    """Return whether the dataset is itself a folder of another tool, not a BIDS dataset.

    Parameters
    ----------
    root : path-like
    folders : dict of str to path-like
        As ``--derivatives`` named them.

    Returns
    -------
    bool
    """
    root = Path(root)
    if not root.is_dir() or (root / "dataset_description.json").exists():
        return False
    return any(
        name in folders and Path(folders[name]).is_dir() and os.path.samefile(root, folders[name])
        for name in ("hcp", "cc359")
    )
