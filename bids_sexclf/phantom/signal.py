"""Simulate the scanner: T1w contrast, diffusion signal, bias, noise.

The diffusion signal of grey and of white matter is that of an axially symmetric tensor with
one kurtosis in every direction, ``S = S0 exp(-b D(n) + b² D(n)² MK / 6)``. Its kurtosis tensor is
the symmetric part of ``MK D ⊗ D / MD²``, so that FA, MD and MK are known exactly [1]_.

References
----------
.. [1] Jensen & Helpern (2010), NMR in Biomedicine 23:698-710. doi:10.1002/nbm.1518
"""

from dataclasses import dataclass

import numpy as np

from bids_sexclf.phantom.population import BASELINE

T1W = {"white": 1.0, "grey": 0.7, "fluid": 0.25}
"""T1w intensity of the tissues, relative to white matter."""

B0 = {"white": 0.8, "grey": 1.0, "fluid": 1.8}
"""Signal at b = 0, relative to the scale of the diffusion scan."""

FLUID_MD, OTHER_MD = 3.0e-3, 1.2e-3
"""Diffusivity of fluid, and of everything outside brain and fluid, mm²/s."""


@dataclass(frozen=True)
class Gradients:
    """The diffusion weighting of a scan.

    Attributes
    ----------
    bvals : numpy.ndarray, shape (V,)
        s/mm².
    directions : numpy.ndarray, shape (V, 3)
        Unit vectors in the gantry frame; zero where b is zero.
    """

    bvals: np.ndarray
    directions: np.ndarray

    def fsl_bvecs(self, affine):
        """Return the directions as FSL and BIDS write them.

        Parameters
        ----------
        affine : array, shape (4, 4)
            Voxel to world; its columns point along the gantry's axes.

        Returns
        -------
        numpy.ndarray, shape (3, V)
            Relative to the voxel axes, the first one reversed where the determinant of the
            affine is positive.
        """
        flip = -1 if np.linalg.det(affine[:3, :3]) > 0 else 1
        # Adding zero turns the -0.0 of b = 0 into 0.0.
        return (self.directions * [flip, 1, 1]).T + 0.0


def make_gradients(shells, directions, b0s):
    """Make gradients with evenly spread directions, different for every shell.

    Parameters
    ----------
    shells : sequence of int
        b-values, s/mm².
    directions : sequence of int
        Number of directions: one for all shells, or one for each.
    b0s : int
        Volumes without weighting; one comes first, the others are spread over the scan.

    Returns
    -------
    Gradients
    """
    counts = directions * len(shells) if len(directions) == 1 else directions
    vectors = np.concatenate([_half_sphere(n, turn / len(shells)) for turn, n in enumerate(counts)])
    bvals = np.repeat(np.asarray(shells, float), counts)
    before = np.linspace(0, len(bvals), b0s, endpoint=False).astype(int)
    return Gradients(np.insert(bvals, before, 0.0), np.insert(vectors, before, 0.0, axis=0))


def _half_sphere(n, turn):
    """Return n unit vectors on a half sphere along a Fibonacci spiral, rotated by a share of 1."""
    height = (np.arange(n) + 0.5) / n
    angle = np.pi * (3 - np.sqrt(5)) * (np.arange(n) + turn) + turn * np.pi
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=-1)


def fibre_directions(place):
    """Return the directions of white matter: a smooth field of axes.

    Parameters
    ----------
    place : array, shape (3, ...)
        Template coordinates, mm.

    Returns
    -------
    numpy.ndarray, shape (3, ...)
        Unit vectors in the template frame: left-right near the midline above the brain stem,
        then up-down beside it, front-back further out.
    """
    x, y, z = place
    across = np.exp(-((x / 16) ** 2)) / (1 + np.exp(-(z + 5) / 5))
    upward = np.exp(-(((abs(x) - 26) / 10) ** 2) - ((y + 20) / 25) ** 2) + np.exp(
        -((x / 16) ** 2) + np.minimum(-(z + 20), 0) / 10
    )
    along = np.clip(1.2 - across - upward, 0.15, None)
    fan = 0.3 * np.sin(y / 40) * np.tanh(x / 10)
    field = np.stack([across + fan, along, upward])
    return field / np.linalg.norm(field, axis=0)


def anisotropy_shape(fa):
    """Convert an FA to the shape of an axially symmetric tensor.

    Parameters
    ----------
    fa : float or array
        Fractional anisotropy, in [0, 1).

    Returns
    -------
    float or array
        a, where the diffusivities are MD (1 + 2a) along and MD (1 - a) across.

    Examples
    --------
    >>> float(anisotropy_shape(0.0))
    0.0
    """
    fa = np.asarray(fa)
    return fa / np.sqrt(3 - 2 * fa**2)


def diffusion_signal(bval, along, fa, md, mk):
    """Compute the signal of a tensor with equal kurtosis in every direction.

    Parameters
    ----------
    bval : float
        s/mm².
    along : array
        Cosine between gradient and fibre.
    fa, md, mk : float or array
        Fractional anisotropy, mean diffusivity (mm²/s) and mean kurtosis.

    Returns
    -------
    numpy.ndarray
        Share of the signal at b = 0, in (0, 1].

    Notes
    -----
    The expansion would rise again beyond b = 3 / (D MK); from there on the signal is constant.
    """
    shape = anisotropy_shape(fa)
    diffusivity = md * (1 - shape + 3 * shape * along**2)
    weight = bval * diffusivity
    weight = np.minimum(weight, 3 / np.maximum(mk, 1e-6))
    return np.exp(-weight + weight**2 * mk / 6)


def t1w_signal(tissues, relative, grey_contrast=1.0):
    """Compute a T1w scan without bias and noise.

    Parameters
    ----------
    tissues : Tissues
        Shape (X, Y, Z).
    relative : array, shape (24,)
        Intensity of every lobe relative to its tissue.
    grey_contrast : float
        Factor on the intensity of grey matter.

    Returns
    -------
    numpy.ndarray of float32, shape (X, Y, Z)
        Relative to white matter.
    """
    matter = T1W["white"] * tissues.white + T1W["grey"] * grey_contrast * tissues.grey
    return (
        matter * _per_voxel(relative, tissues.labels) + T1W["fluid"] * tissues.fluid + tissues.t1w
    )


def dwi_signal(tissues, person, gradients, rotation, poses=None):
    """Compute a diffusion scan without bias and noise.

    Parameters
    ----------
    tissues : Tissues
        Shape (X, Y, Z).
    person : Person
        Whose regional FA, MD and MK are shown.
    gradients : Gradients
    rotation : array, shape (3, 3)
        Template to gantry: how fibres turn with the head.
    poses : sequence of (rotation, shift), optional
        Motion of the head in each volume: shape (3, 3), and shape (3,) in voxels.

    Returns
    -------
    numpy.ndarray of float32, shape (X, Y, Z, V)
        Relative to the signal at b = 0.
    """
    inside = tissues.grey + tissues.white > 0.01
    fibres = np.tensordot(rotation, fibre_directions(tissues.place[:, inside]), axes=1)
    fibres = fibres.astype(np.float32)
    matter = [_matter(tissues, person, tissue, inside) for tissue in ("grey", "white")]
    scan = np.empty((*inside.shape, len(gradients.bvals)), np.float32)
    for v, (bval, direction) in enumerate(
        zip(gradients.bvals.astype(np.float32), gradients.directions, strict=True)
    ):
        turn, shift = poses[v] if poses is not None else (np.eye(3), None)
        # In the frame of a rotated head, the gradient is rotated the other way.
        along = (turn.T @ direction).astype(np.float32) @ fibres
        volume = B0["fluid"] * np.exp(-bval * FLUID_MD) * tissues.fluid
        volume += np.exp(-bval * OTHER_MD) * tissues.b0
        for amount, fa, md, mk in matter:
            volume[inside] += amount * diffusion_signal(bval, along, fa, md, mk)
        scan[..., v] = volume if shift is None else _move(volume, turn, shift)
    return scan


def _matter(tissues, person, tissue, inside):
    """Return amount, FA, MD and MK of one tissue in the voxels that hold brain tissue."""
    labels = tissues.labels[inside]
    amount = B0[tissue] * getattr(tissues, tissue)[inside]
    return amount, *(
        np.float32(BASELINE[name][tissue]) * _per_voxel(person.relative[name], labels)
        for name in ("FA", "MD", "MK")
    )


def _per_voxel(relative, labels):
    """Return the value of each voxel's lobe; 1 outside the lobes."""
    return np.concatenate([[1.0], relative]).astype(np.float32)[labels]


def _move(volume, turn, shift):
    """Rotate a volume about its middle, then shift it by voxels."""
    from scipy.ndimage import affine_transform

    middle = (np.array(volume.shape) - 1) / 2
    return affine_transform(volume, turn.T, middle - turn.T @ (middle + shift), order=1)


def draw_bias(axes, strength, rng):
    """Draw a smooth multiplicative bias field.

    Parameters
    ----------
    axes : sequence of array, shapes (X,), (Y,), (Z,)
        Coordinates along each axis, mm.
    strength : float
        Largest relative change.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray of float32, shape (X, Y, Z)
        Within [1 / (1 + strength), 1 + strength]; a random polynomial of the third degree.
    """
    powers = [np.stack([(axis / abs(axis).max()) ** p for p in range(4)]) for axis in axes]
    degree = np.add.outer(np.add.outer(np.arange(4), np.arange(4)), np.arange(4))
    weights = np.where((degree > 0) & (degree <= 3), rng.standard_normal((4, 4, 4)), 0)
    field = np.einsum("abc,ax,by,cz->xyz", weights, *powers, optimize=True)
    field *= np.log1p(strength) / abs(field).max()
    return np.exp(field).astype(np.float32)


def add_noise(signal, sd, rng):
    """Add Rician noise: return the magnitude of a signal with complex Gaussian noise.

    Parameters
    ----------
    signal : array
    sd : float
        SD of the real and of the imaginary part, in the unit of the signal.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray of float32, the shape of `signal`
        Not negative.
    """
    real, imaginary = (
        rng.standard_normal(signal.shape, dtype=np.float32) * np.float32(sd) for _ in range(2)
    )
    return np.hypot(signal + real, imaginary)
