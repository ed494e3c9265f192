"""Compare brain masks with label maps: ``python docs/dice.py OUTPUT LABELS``.

LABELS holds ``sub-*/anat/*_dseg.nii.gz`` on the grids of the scans, in which 0 is background, 1
cerebrospinal fluid and more is brain.
"""

import sys
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_sexclf.layout import find_derivatives


def overlap(first, second):
    """Give the Dice coefficient of two masks."""
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def main(out, labels):
    """Print Dice with labels > 0 and > 1, and how much smaller than labels > 0 the mask is."""
    rows = []
    for entry in find_derivatives(out, "t1w_mask"):
        person = entry["participant_id"]
        held = next(Path(labels, person, "anat").glob("*_dseg.nii.gz"), None)
        if held is None:
            continue
        label = nib.as_closest_canonical(nib.load(held))
        mask = nib.load(Path(out, entry["path"]))
        if label.shape != mask.shape or not np.allclose(label.affine, mask.affine, atol=1e-3):
            raise SystemExit(f"{person}: mask and labels lie on different grids")
        mask, label = np.asarray(mask.dataobj) > 0, np.asarray(label.dataobj)
        smaller = 100 * (1 - mask.sum() / (label > 0).sum())
        rows.append((overlap(mask, label > 0), overlap(mask, label > 1), smaller))
        print(f"{person}\t" + "\t".join(f"{value:.3f}" for value in rows[-1]))
    rows = np.array(rows)
    print(f"participants {len(rows)}: Dice > 0, Dice > 1, smaller than > 0 in %")
    for name in ("mean", "min", "max"):
        print(f"{name}\t" + "\t".join(f"{value:.3f}" for value in getattr(rows, name)(axis=0)))


if __name__ == "__main__":
    main(*sys.argv[1:3])
