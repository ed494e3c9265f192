"""Write the description, participants, template and truth of a phantom dataset."""

import dataclasses
from pathlib import Path

import numpy as np

from bids_sexclf import __version__
from bids_sexclf.disk import whole, write_json
from bids_sexclf.lobes import NAME, list_lobes, make_lobes
from bids_sexclf.phantom import anatomy, faults, signal
from bids_sexclf.phantom.template import HEAD_MM, HEAD_ORIGIN_MM
from bids_sexclf.tables import write_tsv
from bids_sexclf.volumes import save

TRUTH = Path("derivatives") / "phantom"
TEMPLATE = TRUTH / "templates" / "tpl-Phantom"
TEMPLATE_RES = f"{HEAD_MM:02.0f}"

GAIN = 1000.0
"""Stored number of white matter in T1w scans, and of 1 in diffusion scans."""

LICENSE = "As the ICBM152 2009a templates (BIC, McGill), from which the heads are made"


def describe_truth(options):
    """Return the truth of a phantom, and the descriptions of the columns of truth.tsv.

    Parameters
    ----------
    options : PhantomOptions

    Returns
    -------
    dict
        JSON values only, so that it equals what is read back.
    """
    lobe = options.effect_lobe
    units = {"FA": "arbitrary", "MD": "mm^2/s", "MK": "arbitrary", "T1w": "arbitrary"}
    columns = {
        f"{quantity}_{row['index']:02d}": {
            "Description": f"True {quantity} of {row['name']}"
            + (", relative to the usual intensity of its tissue." if quantity == "T1w" else "."),
            "Units": units[quantity],
        }
        for quantity in options.maps
        for row in list_lobes()
    }
    return {
        "Options": _plain(options),
        "EffectRegionIndex": lobe["index"],
        "EffectRegionName": lobe["name"],
        "EffectMap": options.effect_map,
        "EffectSize": options.effect_size,
        "Seed": options.seed,
        "Atlas": NAME,
        **_participant_columns(options),
        "brain_volume_ml": {"Description": "Volume of the true brain mask.", "Units": "mL"},
        "fault": {"Description": "What is wrong on purpose.", "Levels": faults.FAULTS},
        **columns,
    }


def write_truth_table(path, options, people, volumes):
    """Write one row of truth per participant.

    Parameters
    ----------
    path : path-like
    options : PhantomOptions
    people : list of Person
    volumes : dict of str to float
        Label to volume of the true brain mask, ml.
    """
    import pandas as pd

    frame = _participant_rows(options, people)
    frame["brain_volume_ml"] = [round(volumes[person.label], 3) for person in people]
    frame["fault"] = [person.fault or None for person in people]
    values = {
        f"{quantity}_{row['index']:02d}": [
            person.regional_values(quantity)[row["index"] - 1] for person in people
        ]
        for quantity in options.maps
        for row in list_lobes()
    }
    write_tsv(pd.concat([frame, pd.DataFrame(values)], axis=1), path)


def write_descriptions(out, options, people):
    """Write the dataset descriptions that BIDS needs, and participants.tsv.

    Parameters
    ----------
    out : pathlib.Path
        The dataset.
    options : PhantomOptions
    people : list of Person
    """
    common = {"BIDSVersion": "1.10.0", "License": LICENSE, "Authors": ["bids-sexclf-phantom"]}
    made_by = [{"Name": "bids-sexclf-phantom", "Version": __version__}]
    raw = {"Name": "Phantom", "DatasetType": "raw", **common, "GeneratedBy": made_by}
    write_json(raw, out / "dataset_description.json")
    kind = {"Name": "Phantom truth", "DatasetType": "derivative", **common, "GeneratedBy": made_by}
    links = {"DatasetLinks": {"raw": "../../"}}
    write_json(kind | links, out / TRUTH / "dataset_description.json")
    _write_text("truth.*\ntemplates\n", out / TRUTH / ".bidsignore")
    _write_text(
        "Synthetic whole-head MRI made by bids-sexclf-phantom. No person was scanned.\n"
        f"{options.participants} participants, seed {options.seed}. What was planted, the true "
        f"brain masks\nand the template are in {TRUTH.as_posix()}.\n",
        out / "README",
    )
    _write_text(
        "The truth about the phantom two folders up: truth.json and truth.tsv.\n",
        out / TRUTH / "README",
    )
    frame = _participant_rows(options, people)
    frame["sex"] = frame["sex"].mask([person.fault == "missing_sex" for person in people])
    write_json(_participant_columns(options), out / "participants.json")
    write_tsv(frame, out / "participants.tsv")


def _participant_columns(options):
    """Describe the columns of participants.tsv."""
    columns = {
        "participant_id": {"Description": "Participant."},
        "sex": {"Description": "Sex.", "Levels": {"F": "female", "M": "male"}},
        "age": {"Description": "Age.", "Units": "year"},
    }
    if options.sites > 1:
        columns["site_id"] = {"Description": "Where the scans were made."}
    if options.twins:
        columns["family_id"] = {"Description": "Participants with the same value are twins."}
    return columns


def _participant_rows(options, people):
    """Return the rows of participants.tsv, without faults."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "participant_id": [f"sub-{person.label}" for person in people],
            "sex": [person.sex for person in people],
            "age": [person.age for person in people],
            "site_id": [f"site-{person.site + 1}" for person in people],
            "family_id": [f"family-{person.family + 1}" for person in people],
        }
    )
    return frame[list(_participant_columns(options))]


def write_template(folder, head):
    """Write the template head of all participants, with the file names of TemplateFlow.

    Parameters
    ----------
    folder : pathlib.Path
    head : Head
    """
    import pandas as pd

    shape = head.brain.shape
    labels, table = make_lobes(shape, head.affine)
    tissues = anatomy.unwarped(head, labels)
    t1w = np.rint(signal.t1w_signal(tissues, np.ones(len(table))) * GAIN).astype(np.int16)
    mask = head.brain > 0.5
    volumes = {
        "T1w": t1w,
        "desc-brain_mask": mask,
        "desc-brain_T1w": np.where(mask, t1w, 0).astype(np.int16),
        "label-WM_probseg": head.white.astype(np.float32),
        "label-GM_probseg": head.grey.astype(np.float32),
        f"atlas-{NAME}_dseg": labels,
    }
    for ending, volume in volumes.items():
        path = folder / f"tpl-Phantom_res-{TEMPLATE_RES}_{ending}.nii.gz"
        if not path.exists():
            save(volume, head.affine, path)
    write_tsv(pd.DataFrame(table), folder / f"tpl-Phantom_res-{TEMPLATE_RES}_atlas-{NAME}_dseg.tsv")
    grid = {"origin": list(HEAD_ORIGIN_MM), "shape": list(shape)}
    description = {
        "Identifier": "Phantom",
        "Name": "The head that phantom participants are made from, in MNI152 world coordinates",
        "Authors": ["bids-sexclf-phantom"],
        "License": LICENSE,
        "BIDSVersion": "1.10.0",
        "TemplateFlowVersion": "1.0.0",
        "res": {TEMPLATE_RES: {**grid, "zooms": [HEAD_MM] * 3}},
    }
    write_json(description, folder / "template_description.json")


def _plain(options):
    """Return the options as they are when read back from JSON."""
    values = dataclasses.asdict(options)
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def _write_text(text, path):
    """Write a text file that is whole or absent."""
    with whole(path) as part:
        part.write_text(text)
