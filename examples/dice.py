"""Compare masks and tissues with label maps: ``python examples/dice.py OUTPUT LABELS [TISSUES]``.

LABELS holds ``sub-*/anat/*_dseg.nii.gz`` on the grids of the scans, in which 0 is background, 1
cerebrospinal fluid and more is brain. TISSUES is a table (columns index and tissue) that says which
label is grey matter (GM) and which is white matter (WM).
"""

import csv
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_sexclf.layout import find_derivatives

MASK_COLUMNS = ("Dice > 0", "Dice > 1", "smaller than > 0 in %")
TISSUE_COLUMNS = ("Dice GM", "Dice WM", "GM volume %", "WM volume %")
TISSUE_INDEX = {"GM": 2, "WM": 3}


def overlap(first, second):
    """Return the Dice coefficient of two masks."""
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def read_tissues(path):
    """Return the labels of each tissue: {"GM": [...], "WM": [...]}."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return {
        tissue: [int(row["index"]) for row in rows if row["tissue"] == tissue]
        for tissue in TISSUE_INDEX
    }


def load_on_grid(path, labels):
    """Return the array of an image that must lie on the grid of the labels."""
    image = nib.load(path)
    if labels.shape != image.shape or not np.allclose(labels.affine, image.affine, atol=1e-3):
        raise SystemExit(f"{path} and the labels lie on different grids")
    return np.asarray(image.dataobj)


def compare_mask(mask, labels):
    """Return Dice with labels > 0 and > 1, and by how many percent the mask is smaller."""
    smaller = 100 * (1 - mask.sum() / (labels > 0).sum())
    return [overlap(mask, labels > 0), overlap(mask, labels > 1), smaller]


def compare_tissues(segmentation, labels, tissues):
    """Return Dice of grey and white matter, and their volumes in percent of the labels'."""
    pairs = [
        (segmentation == TISSUE_INDEX[tissue], np.isin(labels, tissues[tissue]))
        for tissue in TISSUE_INDEX
    ]
    dice = [overlap(*pair) for pair in pairs]
    return dice + [100 * ours.sum() / theirs.sum() for ours, theirs in pairs]


def main(out, labels_folder, tissue_table=None):
    """Print one line per participant, then mean, smallest and largest value of each column."""
    tissues = read_tissues(tissue_table) if tissue_table else None
    rows = []
    for entry in find_derivatives(out, "t1w_mask"):
        person = entry["participant_id"]
        label_file = next(Path(labels_folder, person, "anat").glob("*_dseg.nii.gz"), None)
        if label_file is None:
            continue
        image, path = nib.as_closest_canonical(nib.load(label_file)), Path(out, entry["path"])
        labels = np.asarray(image.dataobj)
        row = compare_mask(load_on_grid(path, image) > 0, labels)
        if tissues:
            segmentation = path.with_name(path.name.replace("_desc-brain_mask", "_dseg"))
            row += compare_tissues(load_on_grid(segmentation, image), labels, tissues)
        rows.append(row)
        print(f"{person}\t" + "\t".join(f"{value:.3f}" for value in row))
    columns = MASK_COLUMNS + (TISSUE_COLUMNS if tissues else ())
    print(f"participants {len(rows)}\t" + "\t".join(columns))
    for name in ("mean", "min", "max"):
        numbers = getattr(np.array(rows), name)(axis=0)
        print(f"{name}\t" + "\t".join(f"{value:.3f}" for value in numbers))


if __name__ == "__main__":
    main(*sys.argv[1:4])
