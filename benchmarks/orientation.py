"""Compare diffusion series of one head: do anisotropy and directions agree between them.

    python benchmarks/orientation.py BIDS_DIR --participant canon --reference PAortho

Each series is fitted twice, as it was acquired and as the project's own workflow prepares it. Its
mean b0 is registered to that of the reference series (affine, mutual information), FA is carried in
one linear interpolation, principal directions are carried by nearest neighbour and turned by the
registration's rotation. The table shows, as acquired and prepared:

median FA     inside the series' own brain mask
r             correlation of FA with the reference's, inside both masks
angle         median angle, degrees, between principal directions in world space, where the
              reference's FA is above 0.4
"""

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import polar

from bids_sexclf.anatomy.brain import b0_mask
from bids_sexclf.diffusion import fit_tensor
from bids_sexclf.diffusion.scheme import read_gradients
from bids_sexclf.disk import whole
from bids_sexclf.interfaces.ants import antspyx, to_ants, to_matrix
from bids_sexclf.settings import Preparation
from bids_sexclf.volumes import load

STRONG = 0.4
"""FA above which a voxel has a direction worth comparing."""


@dataclass(frozen=True)
class Fitted:
    """One series: mean b0, brain mask, FA, and principal directions in world space."""

    b0: np.ndarray
    mask: np.ndarray
    fa: np.ndarray
    directions: np.ndarray
    affine: np.ndarray


def fit(dwi, bval, bvec, mask=None):
    """Fit a series from its files.

    Parameters
    ----------
    dwi, bval, bvec : path-like
    mask : path-like, optional
        Made from the mean b0 by default.

    Returns
    -------
    Fitted
    """
    data, affine = load(dwi, ndim=4)
    bvals, bvecs = read_gradients(bval, bvec)
    b0 = data[..., bvals <= max(50, bvals.min())].mean(-1)
    size = np.linalg.norm(affine[:3, :3], axis=0)
    inside = load(mask, ndim=3)[0] > 0 if mask else b0_mask(b0, size)
    fa = fit_tensor(data, bvals, bvecs, inside)["FA"]
    return Fitted(b0, inside, fa, principal(data, bvals, bvecs, inside, affine), affine)


def principal(data, bvals, bvecs, mask, affine):
    """Fit principal directions with dipy and turn them into world space.

    Parameters
    ----------
    data : ndarray, shape (X, Y, Z, N)
    bvals : ndarray, shape (N,)
    bvecs : ndarray, shape (N, 3)
        As FSL writes them: along the image axes, the first one mirrored where the affine has a
        positive determinant.
    mask : ndarray of bool, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)

    Returns
    -------
    ndarray, shape (X, Y, Z, 3)
        Unit vectors in RAS+; zero outside the mask. The sign is arbitrary.
    """
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    unit = np.where(bvals[:, None] > 50, bvecs, 0)
    length = np.linalg.norm(unit, axis=1, keepdims=True)
    table = gradient_table(bvals, bvecs=unit / np.where(length > 0, length, 1), b0_threshold=50)
    fitted = TensorModel(table, min_signal=1).fit(data[mask])
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.linalg.det(axes) > 0:
        axes = axes * np.array([-1, 1, 1])
    directions = np.zeros((*mask.shape, 3))
    directions[mask] = fitted.evecs[..., 0] @ axes.T
    return directions


def prepare(dwi, bval, bvec, folder, preparation):
    """Run the project's own workflow on a series.

    Parameters
    ----------
    dwi, bval, bvec : path-like
    folder : path-like
        Of its intermediate files.
    preparation : settings.Preparation

    Returns
    -------
    Fitted
    """
    from nipype.interfaces.utility import Merge
    from nipype.pipeline.engine import Node, Workflow

    from bids_sexclf.participant.dwi import init_dwi_wf

    route = Workflow("route", base_dir=str(folder))
    about = Path(str(dwi).replace(".nii.gz", ".json"))
    metadata = json.loads(about.read_text()) if about.exists() else {}
    dwi_wf = init_dwi_wf(preparation=preparation, metadata=metadata)
    given = {"dwi": dwi, "bval": bval, "bvec": bvec}
    dwi_wf.inputs.inputnode.trait_set(**{key: str(path) for key, path in given.items()})
    # A node that only hands on would not be in the graph that has run.
    prepared = Node(Merge(3), "prepared")
    outputs = [f"outputnode.{name}" for name in ("dwi", "bvec", "mask")]
    route.connect([(dwi_wf, prepared, list(zip(outputs, ("in1", "in2", "in3"), strict=True)))])
    done = next(node for node in route.run().nodes() if node.name == "prepared").result.outputs
    dwi, bvec, mask = done.out
    return fit(dwi, bval, bvec, mask)


def rotation_of(transform):
    """Read the rotation of a linear ANTs transform, in RAS+ world space.

    Parameters
    ----------
    transform : path-like
        A ``.mat`` file that carries points of the fixed image to the moving one.

    Returns
    -------
    ndarray, shape (3, 3)
        The closest rotation to its matrix (polar decomposition).
    """
    matrix = to_matrix(antspyx().read_transform(str(transform)))[:3, :3]
    return polar(matrix)[0]


def compare(series, reference):
    """Carry a series to the reference and compare the two.

    Parameters
    ----------
    series, reference : Fitted

    Returns
    -------
    median : float
    correlation : float
    angle : float
        Degrees.
    """
    ants = antspyx()
    fixed = to_ants(np.where(reference.mask, reference.b0, 0), reference.affine)
    moving = to_ants(np.where(series.mask, series.b0, 0), series.affine)
    with tempfile.TemporaryDirectory() as folder:
        found = ants.registration(fixed, moving, "Affine", outprefix=f"{folder}/a_")
        found = found["fwdtransforms"]
        rotation = rotation_of(found[0])

        def carry(array, kind="linear"):
            image = to_ants(array.astype(np.float32), series.affine)
            return ants.apply_transforms(fixed, image, found, interpolator=kind).numpy()

        fa, mask = carry(series.fa), carry(series.mask, "nearestNeighbor") > 0.5
        moved = np.stack(
            [carry(series.directions[..., k], "nearestNeighbor") for k in range(3)], axis=-1
        )
    both = mask & reference.mask
    # The transform leads from the reference's points to the series': directions go back.
    moved = moved @ rotation
    strong = both & (reference.fa > STRONG) & (np.linalg.norm(moved, axis=-1) > 0.5)
    cosine = np.abs((moved[strong] * reference.directions[strong]).sum(-1)).clip(0, 1)
    return (
        float(np.median(series.fa[series.mask])),
        float(np.corrcoef(fa[both], reference.fa[both])[0, 1]),
        float(np.degrees(np.median(np.arccos(cosine)))),
    )


def find_series(bids_dir, participant):
    """List the series of a participant: label to the files' stem."""
    folder = Path(bids_dir, f"sub-{participant}", "dwi")
    stems = [path.with_suffix("").with_suffix("") for path in sorted(folder.glob("*_dwi.nii.gz"))]
    return {
        stem.name.removeprefix(f"sub-{participant}_").removesuffix("_dwi"): stem for stem in stems
    }


def files_of(stem):
    """Give the three files of a series."""
    return [f"{stem}{suffix}" for suffix in (".nii.gz", ".bval", ".bvec")]


def once(path, make, *given):
    """Make a series, or read it where it has been made before.

    Parameters
    ----------
    path : pathlib.Path
        Of the file that keeps it.
    make : callable
        Gives a `Fitted`.
    given
        What `make` takes.

    Returns
    -------
    Fitted
    """
    if path.exists():
        with np.load(path) as kept:
            return Fitted(**kept)
    made = make(*given)
    with whole(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **asdict(made))
    return made


def measure(stems, reference, preparation, work):
    """Measure every series both ways.

    Parameters
    ----------
    stems : dict of str to path
    reference : str
        Key of `stems`.
    preparation : settings.Preparation
    work : path-like

    Returns
    -------
    dict of str to tuple
        Series to six numbers: median FA, correlation, angle, as acquired; the same, prepared.
    """
    raw, made = {}, {}
    for name, stem in stems.items():
        files = files_of(stem)
        raw[name] = once(Path(work, f"{name}_raw.npz"), fit, *files)
        made[name] = once(
            Path(work, f"{name}_prepared.npz"), prepare, *files, Path(work, name), preparation
        )
    return {
        name: (*compare(raw[name], raw[reference]), *compare(made[name], made[reference]))
        for name in stems
    }


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bids_dir")
    parser.add_argument("--participant", default="canon")
    parser.add_argument("--reference", default="acq-PAortho")
    parser.add_argument("--series", nargs="*", help="labels; all by default")
    parser.add_argument("--dwi-alignment", default="affine")
    parser.add_argument("--work", help="what was made is kept here, and taken from here")
    given = parser.parse_args()
    stems = find_series(given.bids_dir, given.participant)
    kept = given.series or stems
    stems = {name: stems[name] for name in {given.reference: None} | dict.fromkeys(kept)}
    preparation = Preparation(dwi_alignment=given.dwi_alignment)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(stems, given.reference, preparation, given.work or folder)
    print(f"{'':18}|{'as acquired':^26}|{'prepared':^26}")
    print(f"{'series':18}|" + f"{'median FA':>10}{'r':>8}{'angle':>8}|" * 2)
    for name, numbers in rows.items():
        cells = "".join(f"{a:10.3f}{r:8.3f}{d:8.1f}|" for a, r, d in (numbers[:3], numbers[3:]))
        print(f"{name:18}|{cells}")


if __name__ == "__main__":
    main()
