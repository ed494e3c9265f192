"""Find the eigenvalues and eigenvectors of many 3 x 3 symmetric matrices at once."""

import numpy as np


def eigenframes(elements):
    """Return the eigenvalues and eigenvectors of symmetric 3 x 3 matrices.

    Parameters
    ----------
    elements : numpy.ndarray, shape (6, n)
        xx, xy, xz, yy, yz, zz.

    Returns
    -------
    evals : numpy.ndarray, shape (3, n)
        Largest first.
    evecs : numpy.ndarray, shape (3, 3, n)
        Unit vectors: component, then the eigenvalue they belong to.

    Notes
    -----
    The eigenvalue farthest from the other two has a closed form, and its eigenvector is the
    cross product of two rows, well determined because it stands apart. The other two come
    from the 2 x 2 matrix that is left across it. No step divides by the distance of two
    eigenvalues, so equal ones need no special case; errors are those of rounding.

    References
    ----------
    Smith (1961), doi:10.1145/355578.366316; Duff et al. (2017), "Building an orthonormal basis,
    revisited", J. Comput. Graph. Tech. 6, 1-8.
    """
    apart, above = _separate_vector(elements)
    first, second = basis_across(apart)
    turned = [_multiply(elements, vector) for vector in (apart, first, second)]
    alone = _dot(apart, turned[0])
    along, cross, across = _dot(first, turned[1]), _dot(first, turned[2]), _dot(second, turned[2])
    middle, half = (along + across) / 2, (along - across) / 2
    radius = np.sqrt(half**2 + cross**2)
    cosine, sine = _half_angle(half, cross, radius)
    larger, smaller = cosine * first + sine * second, cosine * second - sine * first
    high, low = middle + radius, middle - radius
    evals = np.stack(
        [np.where(above, alone, high), np.where(above, high, low), np.where(above, low, alone)]
    )
    evecs = np.stack(
        [
            np.where(above, apart, larger),
            np.where(above, larger, smaller),
            np.where(above, smaller, apart),
        ],
        axis=1,
    )
    return evals, evecs


def _half_angle(along, across, length):
    """Return the cosine and sine of half the angle of plane vectors of given length."""
    # The larger of the two has no cancellation, the other follows from their product.
    nothing = length == 0
    length = np.where(nothing, 1, length)
    larger = np.sqrt((1 + np.where(nothing, 1, np.abs(along) / length)) / 2)
    smaller = np.abs(across) / (2 * length * larger)
    ahead = along >= 0
    cosine, sine = np.where(ahead, larger, smaller), np.where(ahead, smaller, larger)
    return cosine, np.copysign(sine, across)


def _separate_vector(elements):
    """Return the eigenvector that stands apart, shape (3, n), and whether its value is largest."""
    xx, xy, xz, yy, yz, zz = elements
    mean = (xx + yy + zz) / 3
    size = np.sqrt(
        ((xx - mean) ** 2 + (yy - mean) ** 2 + (zz - mean) ** 2 + 2 * (xy**2 + xz**2 + yz**2)) / 6
    )
    scale = 1 / np.where(size > 0, size, 1)
    a, d, f = ((part - mean) * scale for part in (xx, yy, zz))
    b, c, e = (part * scale for part in (xy, xz, yz))
    half = (a * (d * f - e * e) - b * (b * f - c * e) + c * (b * e - c * d)) / 2
    above = half >= 0
    value = 2 * np.cos(np.arccos(np.minimum(np.abs(half), 1)) / 3)
    value = np.where(above, value, -value)
    a, d, f = a - value, d - value, f - value
    # Rows of the adjugate: each is the cross product of two rows, along the eigenvector.
    rows = np.array(
        [
            [d * f - e * e, c * e - b * f, b * e - c * d],
            [c * e - b * f, a * f - c * c, b * c - a * e],
            [b * e - c * d, b * c - a * e, a * d - b * b],
        ]
    )
    longest = np.argmax(np.abs(rows[[0, 1, 2], [0, 1, 2]]), axis=0)
    vector = np.take_along_axis(rows, longest[None, None], axis=0)[0]
    return vector / np.sqrt(_dot(vector, vector)), above


def basis_across(vector):
    """Return two unit vectors that form a frame with the given ones, each of shape (3, n)."""
    x, y, z = vector
    sign = np.copysign(1.0, z)
    a = -1 / (sign + z)
    b = x * y * a
    return np.stack([1 + sign * x * x * a, sign * b, -sign * x]), np.stack(
        [b, sign + y * y * a, -y]
    )


def _multiply(elements, vector):
    """Multiply symmetric matrices with vectors of shape (3, n)."""
    xx, xy, xz, yy, yz, zz = elements
    x, y, z = vector
    return np.stack([xx * x + xy * y + xz * z, xy * x + yy * y + yz * z, xz * x + yz * y + zz * z])


def _dot(first, second):
    return np.einsum("iv,iv->v", first, second)
