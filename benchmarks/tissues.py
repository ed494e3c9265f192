"""Compare tissues and bias field of T1w scans with labels: k-means by Atropos, and ours.

    python benchmarks/tissues.py BIDS LABELS TISSUES [--participants IXI012 IXI048]
        [--templates-dir DIR] [--recipe sloppy]
    python benchmarks/tissues.py --heads FOLDER [--templates-dir DIR]

BIDS holds one T1w per participant, LABELS the folder of sub-*/anat/*_dseg.nii.gz on the scans'
grids, and TISSUES is a table (TSV: label, tissue) that says which label is GM, WM or VN
(ventricle). The brain mask of both is all labels > 0, so that only the tissues differ.
FOLDER holds label maps of whole heads with FreeSurfer's numbers (*_seg_*.nii.gz, voxels of 1 mm);
scans are made from them, with noise and a bias field, and their tissues are known exactly.

kmeans  N4 inside the head (blocks of 8 / smallest voxel size), then Atropos with three classes
ours    N4 inside the head, `Unbias`, registration of the brain to the template, `SegmentTissues`

Printed for each: the Dice overlap of grey and white matter with the labels, their volumes relative
to the labels', the gradient of white matter by the labels (without their rim) from the bottom to
the vertex in percent, and processor seconds of bias field and tissues, without the registration.
"""

import argparse
import csv
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

EXTRACEREBRAL = 500
"""Labels of whole heads from here on are no part of what lies within the skull."""

SIGNAL = {
    100: (2, 7, 16, 28, 41, 46, 60, 85),  # white matter and brain stem
    85: (10, 13, 49, 52),  # thalamus and pallidum, which count as grey matter
    25: (4, 5, 14, 15, 24, 30, 43, 44, 62, 72, 506),  # fluid, vessels, eyes
    10: (515,),  # bone
    50: (502, 508, 509, 514, 516, 530),
    80: (507, 511, 512),  # muscle, fat and skin
}
"""Signal of a T1w to FreeSurfer's labels; other labels of the brain are grey matter, with 70."""

NUMBERS = ("Dice GM", "Dice WM", "volume GM", "volume WM", "gradient %", "seconds")


def read_truth(labels, table):
    """Give the tissue of each voxel: 0 outside, 1 other, 2 grey matter, 3 white matter."""
    import nibabel as nib

    image = nib.as_closest_canonical(nib.load(labels))
    labels = np.asarray(image.dataobj).astype(int)
    lookup = np.minimum(np.arange(labels.max() + 1), 1)
    with open(table, newline="") as file:
        for number, tissue in list(csv.reader(file, delimiter="\t"))[1:]:
            if int(number) < lookup.size:
                lookup[int(number)] = {"GM": 2, "WM": 3}.get(tissue, 1)
    return lookup[labels]


def make_scan(labels, seed):
    """Return a T1w made from labels of a whole head, and the tissue of each voxel.

    White matter has a signal of 100, grey matter 70, fluid 25; the noise has a standard deviation
    of 3, and the bias field ranges over a factor of two.
    """
    from scipy.ndimage import gaussian_filter

    table = np.zeros(labels.max() + 1, np.float32)
    table[1:EXTRACEREBRAL] = 70
    for signal, numbers in SIGNAL.items():
        table[[number for number in numbers if number < table.size]] = signal
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in labels.shape), indexing="ij")
    field = np.exp(0.4 * (0.5 * z + 0.3 * x - 0.4 * y**2 + 0.3 * y * z))
    noise = np.random.default_rng(seed).normal(0, 3, (2, *labels.shape))
    scan = np.hypot(gaussian_filter(table[labels], 0.5) * field + noise[0], noise[1])
    brain = (labels > 0) & (labels < EXTRACEREBRAL)
    white, fluid = np.isin(labels, SIGNAL[100]), np.isin(labels, SIGNAL[25])
    return scan.astype(np.float32), np.select([~brain, white, fluid], [0, 3, 1], 2)


def by_kmeans(scan, mask, affine):
    """Tell tissues apart as releases before did; give the scan without bias, and the shares."""
    import ants

    from bids_sexclf.interfaces.ants import to_ants
    from bids_sexclf.volumes import Grid, crop_grid

    image = to_ants(scan, affine)
    clean = ants.n4_bias_field_correction(
        image,
        mask=ants.get_mask(image),
        shrink_factor=max(1, round(8 / min(image.spacing))),
        convergence={"iters": [50, 50, 30], "tol": 1e-6},
    ).numpy()
    grid, box = crop_grid(Grid(mask.shape, affine), mask, margin=2)
    bounded = np.clip(clean[box], *np.percentile(clean[mask], (0.5, 99.0)))
    found = ants.atropos(
        to_ants(bounded, grid.affine),
        to_ants(mask[box], grid.affine),
        i="kmeans[3]",
        m="[0.1,1x1x1]",
        c="[5,0]",
        r=0,
    )
    shares = np.zeros((3, *mask.shape), np.float32)
    shares[(slice(None), *box)] = [image.numpy() for image in found["probabilityimages"]]
    return clean, shares


def by_ours(rough, mask, maps, inverse, folder):
    """Tell tissues apart as the workflow does; give the files."""
    from bids_sexclf.interfaces.tissues import SegmentTissues, Unbias

    given = {"mask_file": str(mask), "maps": maps, "transforms": [str(inverse)]}
    clean = Unbias(in_file=str(rough), **given).run(cwd=str(folder)).outputs.out_file
    found = SegmentTissues(in_file=clean, **given).run(cwd=str(folder)).outputs
    return clean, found.probabilities


def score(clean, shares, truth, affine):
    """Compare tissues with the truth; give the first five of `NUMBERS`."""
    from scipy.ndimage import binary_erosion

    from bids_sexclf.anatomy.morphometry import white_gradient

    labels = np.where(np.sum(shares, 0) > 0, 1 + np.argmax(shares, 0), 0)
    dice = [
        2 * ((labels == k) & (truth == k)).sum() / ((labels == k).sum() + (truth == k).sum())
        for k in (2, 3)
    ]
    volumes = [float(np.sum(shares[k - 1]) / (truth == k).sum()) for k in (2, 3)]
    return [*dice, *volumes, white_gradient(clean, binary_erosion(truth == 3), affine)]


def write_maps(template, folder):
    """Write the template's maps of grey and white matter; give their paths."""
    from bids_sexclf.resources import group_grid, tissue_share
    from bids_sexclf.volumes import save

    grid, paths = group_grid(template, 2.0), []
    for label in ("GM", "WM"):
        share = tissue_share(label, template.name, grid, template.folder.parent)
        paths.append(str(Path(folder, f"{label}.nii.gz")))
        save(share, grid.affine, paths[-1])
    return paths


def prepare(scan, truth, template, recipe, folder):
    """Correct a scan roughly and register its brain; give scan, mask, transform and seconds."""
    from bids_sexclf.interfaces.ants import BiasCorrect
    from bids_sexclf.interfaces.greedy import Deform
    from bids_sexclf.interfaces.images import Conform
    from bids_sexclf.volumes import load, save

    turned = Conform(in_file=str(scan)).run(cwd=str(folder)).outputs.out_file
    started = time.process_time()
    rough = BiasCorrect(in_file=turned).run(cwd=str(folder)).outputs.out_file
    spent = time.process_time() - started
    (array, affine), mask, brain = load(rough), Path(folder, "m.nii.gz"), Path(folder, "b.nii.gz")
    save(truth > 0, affine, mask)
    save(array * (truth > 0), affine, brain)
    node = Deform(in_file=str(brain), fixed=str(template.brain), recipe=recipe)
    return turned, rough, mask, node.run(cwd=str(folder)).outputs.inverse, spent


def compare(scan, rough, mask, inverse, truth, maps, folder):
    """Give the `NUMBERS` of both ways for one scan; the time of the rough N4 is not in ours."""
    from bids_sexclf.volumes import load

    (array, affine), rows = load(scan, ndim=3), {}
    started = time.process_time()
    clean, shares = by_kmeans(array, load(mask)[0] > 0.5, affine)
    rows["kmeans"] = [*score(clean, shares, truth, affine), time.process_time() - started]
    started = time.process_time()
    clean, paths = by_ours(rough, mask, maps, inverse, folder)
    spent = time.process_time() - started
    shares = np.stack([load(path)[0] for path in paths])
    rows["ours"] = [*score(load(clean)[0], shares, truth, affine), spent]
    return rows


def report(rows):
    """Print mean and extremes of both ways."""
    print("way\tof\t" + "\t".join(NUMBERS))
    for way in ("kmeans", "ours"):
        numbers = np.array([row[way] for row in rows])
        for name in ("mean", "min", "max"):
            values = getattr(numbers, name)(axis=0)
            print(f"{way}\t{name}\t" + "\t".join(f"{value:.3f}" for value in values))


def list_people(given, folder):
    """Yield name, scan and true tissues of each participant, or of each head of known labels."""
    import nibabel as nib

    from bids_sexclf.volumes import save

    for person in given.participants if given.bids else ():
        labels = next((given.labels / f"sub-{person}").rglob("*_dseg.nii.gz"))
        scan = next((given.bids / f"sub-{person}").rglob("*_T1w.nii.gz"))
        yield f"sub-{person}", scan, read_truth(labels, given.tissues)
    for seed, path in enumerate(sorted(given.heads.glob("*_seg_*.nii.gz")) if given.heads else ()):
        image = nib.as_closest_canonical(nib.load(path))
        scan, truth = make_scan(np.asarray(image.dataobj).astype(int), seed)
        save(scan, image.affine, folder / "head.nii.gz")
        yield path.name.removesuffix(".nii.gz"), folder / "head.nii.gz", truth


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bids", type=Path, nargs="?")
    parser.add_argument("labels", type=Path, nargs="?")
    parser.add_argument("tissues", type=Path, nargs="?")
    parser.add_argument("--participants", nargs="+", default=["IXI012", "IXI048", "IXI079"])
    parser.add_argument("--heads", type=Path)
    parser.add_argument("--template", default="MNI152NLin6Asym")
    parser.add_argument("--templates-dir", type=Path)
    parser.add_argument("--recipe", default="sloppy", help="of the registration")
    given = parser.parse_args()
    if not given.heads and not given.tissues:
        parser.error("needed BIDS, LABELS and TISSUES, or --heads FOLDER")
    from bids_sexclf.resources import find_template

    template, rows = find_template(given.template, given.templates_dir), []
    with tempfile.TemporaryDirectory() as folder:
        for name, scan, truth in list_people(given, Path(folder)):
            maps = write_maps(template, folder)
            *files, spent = prepare(scan, truth, template, given.recipe, folder)
            row = compare(*files, truth, maps, folder)
            row["ours"][-1] += spent
            rows.append(row)
            for way, numbers in row.items():
                print(f"{name}\t{way}\t" + "\t".join(f"{n:.3f}" for n in numbers), flush=True)
    report(rows)


if __name__ == "__main__":
    sys.exit(main())
