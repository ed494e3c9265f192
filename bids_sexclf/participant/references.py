"""Write the images of the template and the atlases beside the participants."""

import re
from pathlib import Path

from bids_sexclf import atlases, layout, resources
from bids_sexclf.disk import write_json
from bids_sexclf.errors import InputError, ToolError
from bids_sexclf.participant.finished import read_known, take_fingerprints
from bids_sexclf.volumes import load, resample, save

ATLAS_MM = 1.0
"""Voxel size at which atlases are kept: region volumes must not depend on the group grid."""

NONE = "none"
"""Value of ``morphometry_atlas`` for which no regions are measured."""


def find_sources(template, run, preparation):
    """Find the files that all results depend on: those of the template and of the atlases.

    Parameters
    ----------
    template : resources.Template
    run : settings.Run
    preparation : settings.Preparation

    Returns
    -------
    dict of str to pathlib.Path
        Name to path. An atlas without files is left out; `write_atlases` refuses it.
    """
    sources = {f"template:{path.name}": path for path in _template_files(template)}
    for name in _asked(preparation):
        try:
            files = atlases.find_atlas_files(name, folders=run.atlas_folders())
        except (InputError, ToolError):
            continue
        for kind, path in zip(("image", "labels"), files, strict=False):
            sources[f"atlas:{layout.atlas_label(name)}:{kind}"] = path.resolve()
    return sources


def _template_files(template):
    """List the files of a template that references and steps read."""
    tissues = sorted(template.folder.glob(f"tpl-{template.name}*_label-[GW]M_probseg.nii*"))
    return [template.head, template.brain, template.mask, *tissues]


def _asked(preparation):
    return [name for name in preparation.morphometry_atlas if name != NONE]


def _is_current(written, sources, record):
    """Return whether files are unchanged since they were written from the same sources."""
    recorded = read_known(record)
    current = take_fingerprints([*written, *sources], recorded)
    paths = {str(path) for path in (*written, *sources)}
    return paths == set(recorded) and all(
        current.get(path, {}).get("sha256") == recorded[path].get("sha256") for path in paths
    )


def _record(written, sources, record):
    write_json(take_fingerprints([*written, *sources], {}), record)


def write_references(out, template, preparation):
    """Write the brain, mask, grey and white matter of the template on the group grid.

    They lie beside the participants, so that the group level needs nothing else.

    Parameters
    ----------
    out : path-like
    template : resources.Template
    preparation : settings.Preparation

    Returns
    -------
    dict of str to str
        Keys of `layout.REFERENCES` to absolute paths. Where the template has no map of grey
        matter, grey matter and fluid are expected alike where white matter is not.
    """
    label = layout.number_label(preparation.resolution)
    paths = {
        kind: Path(out, layout.reference(kind, template.name, label)).resolve()
        for kind in layout.REFERENCES
    }
    record = Path(out, "logs", "fingerprints", f"tpl-{template.name}_res-{label}.json")
    # Kept as they are where nothing has changed, so that finished steps stay valid.
    if not _is_current(paths.values(), _template_files(template), record):
        grid = resources.group_grid(template, preparation.resolution)
        mask = resample(*load(template.mask, ndim=3), grid) > 0.5
        save(resample(*load(template.brain, ndim=3), grid) * mask, grid.affine, paths["brain"])
        save(mask, grid.affine, paths["mask"])
        white = resources.white_matter(template.name, grid, preparation.templates_dir) & mask
        save(white, grid.affine, paths["white"])
        grey, white = (
            resources.tissue_share(label, template.name, grid, preparation.templates_dir)
            for label in ("GM", "WM")
        )
        save((1 - white) * mask / 2 if grey is None else grey, grid.affine, paths["grey_share"])
        save(white, grid.affine, paths["white_share"])
        _record(paths.values(), _template_files(template), record)
    return {kind: str(path) for kind, path in paths.items()}


def labels_of(image):
    """Return the path of the label table beside an atlas image."""
    return Path(re.sub(r"\.nii\.gz$", ".tsv", str(image)))


def write_atlases(out, template, preparation, folders=()):
    """Write the atlases of the region measures at 1 mm in the template's space.

    They lie beside the participants, as the template does. An existing atlas is kept where its
    source is the same, so that finished steps stay valid.

    Parameters
    ----------
    out : path-like
    template : resources.Template
    preparation : settings.Preparation
        ``morphometry_atlas`` is read.
    folders : iterable of path-like
        Searched for atlas files before $FSLDIR.

    Returns
    -------
    list of pathlib.Path
        Images, absolute.

    Raises
    ------
    InputError
        If an atlas is unknown, does not fit the template, or two have one name.
    ToolError
        If its files are not found.
    """
    paths = []
    for name, label in _name_atlases(preparation).items():
        path = Path(out, layout.atlas_reference(label, template.name, ATLAS_MM)).resolve()
        written, record = (
            (path, labels_of(path)),
            Path(out, "logs", "fingerprints", f"{path.stem}.json"),
        )
        sources = atlases.find_atlas_files(name, folders=folders)
        if not _is_current(written, sources, record):
            _write_atlas(path, name, template, folders)
            _record(written, sources, record)
        paths.append(path)
    return paths


def check_atlases(template, preparation, folders=()):
    """Refuse what `write_atlases` would refuse, and write nothing.

    Parameters
    ----------
    template, preparation, folders
        As for `write_atlases`.

    Raises
    ------
    InputError, ToolError
        As of `write_atlases`.
    """
    for name in _name_atlases(preparation):
        _read_atlas(name, template, folders)


def _name_atlases(preparation):
    """Return the requested atlases: name to the label in file names."""
    requested = _asked(preparation)
    names = [layout.atlas_label(name) for name in requested]
    if len(set(names)) < len(names):
        raise InputError(
            f"Found --morphometry-atlas {' '.join(requested)}, needed a name for each. Rename the "
            "images, or give each once."
        )
    return dict(zip(requested, names, strict=True))


def _read_atlas(name, template, folders):
    """Read one atlas, resampled to the grid on which it is stored; return atlas and grid."""
    grid = resources.group_grid(template, ATLAS_MM)
    inside = resample(*load(template.mask, ndim=3), grid) > 0.5
    try:
        atlas = atlases.find_atlas(name, grid, template.name, folders=folders, inside=inside)
    except InputError as fault:
        raise InputError(
            f"{fault} Here it is --morphometry-atlas, which may also be {NONE}."
        ) from fault
    return atlas, grid


def _write_atlas(path, name, template, folders):
    """Write one atlas and, last, its label table."""
    import numpy as np

    from bids_sexclf.tables import schema, write_tsv

    atlas, grid = _read_atlas(name, template, folders)
    counts = np.bincount(atlas.parcellation[atlas.parcellation > 0].ravel())
    counts = np.pad(counts, (0, int(atlas.labels["index"].max()) + 1))
    labels = atlas.labels[["index", "name", "hemisphere"]]
    save(atlas.parcellation.astype(np.int32), grid.affine, path)
    entry = atlases.known_atlases().get(name, {})
    about = {"Name": name} | {
        key: entry[key] for key in ("Name", "Source", "License") if key in entry
    }
    write_json(about, layout.atlas_description(path))
    about |= {"SpatialReference": template.name, "Resolution": f"{ATLAS_MM:g} mm isotropic"}
    write_json(schema("atlas") | about, layout.sidecar(path))
    write_tsv(labels.assign(n_voxels=counts[labels["index"].to_numpy(int)]), labels_of(path))
