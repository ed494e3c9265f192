"""Brain extraction on T1w images made from label maps of whole heads: the brain is known."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_sexclf.anatomy.brain import ball
from bids_sexclf.interfaces.extract import ExtractBrain
from bids_sexclf.resources import find_template
from bids_sexclf.volumes import load, save

FLUID_AROUND, CHIASM, EXTRACEREBRAL = 24, 85, 500
CEREBELLUM_AND_STEM = (7, 8, 16, 46, 47)
SIGNAL = {
    1.0: (2, 7, 16, 28, 41, 46, 60, 85),  # white matter and brain stem
    0.85: (10, 13, 49, 52),  # thalamus and pallidum
    0.25: (4, 5, 14, 15, 24, 30, 43, 44, 62, 72, 506),  # fluid, vessels, eyes
    0.1: (515,),  # bone
    0.5: (502, 508, 509, 514, 516, 530),
    0.8: (507, 511, 512),  # muscle, fat and skin
}
GREY = 0.7


def make_scan(labels, affine):
    """Give a T1w at 2 mm: each label its signal, averaged over voxels of 1 mm, with noise."""
    table = np.zeros(labels.max() + 1, np.float32)
    table[1:EXTRACEREBRAL] = GREY
    for signal, indices in SIGNAL.items():
        table[[index for index in indices if index < table.size]] = signal
    halves = [n // 2 for n in labels.shape]
    fine = table[labels].reshape(halves[0], 2, halves[1], 2, halves[2], 2)
    scan = fine.mean((1, 3, 5))
    scan = np.abs(scan + np.random.default_rng(0).normal(0, 0.02, scan.shape))
    shift = np.eye(4)
    shift[:3, 3] = 0.5
    return 100 * scan, affine @ shift @ np.diag([2, 2, 2, 1])


def known_brain(labels):
    """Give the brain with its ventricles and the fluid between its folds, voxels of 2 mm.

    The labels of the brain follow every sulcus; closing by 8 mm fills them. The fluid around the
    brain, which has a label of its own, is in it only as far as that.
    """
    tissue = (labels > 0) & (labels < EXTRACEREBRAL) & (labels != FLUID_AROUND) & (labels != CHIASM)
    return ndimage.binary_fill_holes(ndimage.binary_closing(halved(tissue), ball(8, (2, 2, 2))))


def within_skull(labels):
    """Give brain and all fluid around it, down to the lowest slice of the brain, voxels of 2 mm."""
    inside = (labels > 0) & (labels < EXTRACEREBRAL) & (labels != CHIASM)
    lowest = np.argwhere(np.isin(labels, CEREBELLUM_AND_STEM))[:, 2].min()
    inside[:, :, :lowest] = False
    return ndimage.binary_fill_holes(halved(inside))


def halved(mask):
    """Give a mask of 1 mm at 2 mm, where half of a voxel or more is in it."""
    halves = [n // 2 for n in mask.shape]
    return mask.reshape(halves[0], 2, halves[1], 2, halves[2], 2).mean((1, 3, 5)) >= 0.5


def overlap(first, second):
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


@pytest.mark.parametrize(
    "head", [1, *(pytest.param(head, marks=pytest.mark.slow) for head in (2, 3, 4))]
)
def test_the_mask_of_a_whole_head_is_its_known_brain(head, real_data, tmp_path, record_property):
    place = real_data / f"head-labels/training_seg_0{head}.nii.gz"
    image = nib.as_closest_canonical(nib.load(place))
    labels = np.asarray(image.dataobj).astype(int)
    labels = labels[tuple(slice(n // 2 * 2) for n in labels.shape)]
    save(*make_scan(labels, image.affine), tmp_path / "t1w.nii.gz")
    template = find_template("MNI152NLin6Asym", real_data / "templateflow")
    node = ExtractBrain(
        in_file=str(tmp_path / "t1w.nii.gz"),
        head=str(template.head),
        head_mask=str(template.mask),
        brain=str(template.brain),
    )
    mask = load(node.run(cwd=str(tmp_path)).outputs.mask_file)[0] > 0
    record_property("Dice with brain, folds filled", overlap(mask, known_brain(labels)))
    record_property("Dice with all within the skull", overlap(mask, within_skull(labels)))
    missed = float((known_brain(labels) & ~mask).sum() / known_brain(labels).sum())
    record_property("share of the brain that is missed", missed)
    # The mask is all that lies within the skull: it holds the fluid around the brain too.
    assert overlap(mask, within_skull(labels)) >= 0.97 and missed <= 0.004
