"""Draw slices of volumes: borders, colours, and maps with their scale."""

import numpy as np

from bids_sexclf.pictures import COLOURS, SOFT, WIDTH

AXES = (("z", 2), ("y", 1), ("x", 0))
"""Rows of a mosaic: axial, coronal, sagittal; and the axis that each cuts across."""

GAP = 3
"""Pixels between tiles."""


class Mosaic:
    """A layout of slices side by side, the same slices for all volumes of one grid.

    Left is left: the first axis runs from the participant's left to the right;
    tiles show the brain from above, from behind and from the right.

    Parameters
    ----------
    affine : ndarray, shape (4, 4)
        Voxel to world, mm.
    box : ndarray of bool, shape (X, Y, Z)
        What the slices go through; the tiles are cut to it.
    cuts : int
        Slices along each axis.
    axes : str
        Rows, of ``z``, ``y`` and ``x``.
    """

    def __init__(self, affine, box, cuts=7, axes="zyx"):
        import nibabel as nib

        self.affine = np.asarray(affine, float)
        inside, turned = self._turn(box)
        if not inside.any():
            inside = np.ones_like(inside)
        self.sizes = nib.affines.voxel_sizes(turned)
        margin = np.ceil(6 / self.sizes).astype(int)
        voxels = np.argwhere(inside)
        low = np.maximum(voxels.min(0) - margin, 0)
        high = np.minimum(voxels.max(0) + 1 + margin, inside.shape)
        self.box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        self.pixel = float(np.clip(self.sizes.min(), 1.0, 2.0))
        self.rows = []
        for name, axis in AXES:
            if name not in axes:
                continue
            first, last = voxels[:, axis].min(), voxels[:, axis].max()
            picked = np.linspace(first, last, cuts + 2)[1:-1].round().astype(int)
            centre = np.array(inside.shape) / 2
            places = []
            for index in picked:
                centre[axis] = index
                places.append(float((turned @ [*centre, 1])[axis]))
            self.rows.append((name, axis, picked, places))

    def _turn(self, volume):
        """Reorder a volume to RAS+ axes."""
        import nibabel as nib

        kind = np.asarray(volume).dtype
        image = nib.Nifti1Image(np.asarray(volume, np.float32), self.affine)
        turned = nib.as_closest_canonical(image)
        return np.asarray(turned.dataobj).astype(kind), turned.affine

    def lay(self, volume):
        """Return the tiles of one volume as a picture.

        Parameters
        ----------
        volume : ndarray, shape (X, Y, Z)

        Returns
        -------
        picture : ndarray of float32, shape (rows, columns)
            First row on top; not a number between the tiles.
        corners : list of (str, float, float)
            Text of each tile (``z 12``) and the pixel of its lower left corner.
        """
        turned, _ = self._turn(np.asarray(volume, np.float32))
        rows, corners, top = [], [], 0
        tiles = [
            [self._tile(turned, axis, index) for index in row] for _, axis, row, _ in self.rows
        ]
        pitch = max(tile.shape[1] for row in tiles for tile in row) + GAP
        for (name, _, _, places), row in zip(self.rows, tiles, strict=True):
            height = row[0].shape[0]
            canvas = np.full((height + GAP, pitch * len(row) - GAP), np.nan, np.float32)
            for column, (tile, place) in enumerate(zip(row, places, strict=True)):
                first_column = column * pitch + (pitch - GAP - tile.shape[1]) // 2
                canvas[:height, column * pitch : (column + 1) * pitch - GAP] = 0
                canvas[:height, first_column : first_column + tile.shape[1]] = tile
                corners.append((f"{name} {place:.0f}", column * pitch, top + height))
            rows.append(canvas)
            top += height + GAP
        return np.vstack(rows)[:-GAP], corners

    def _tile(self, volume, axis, index):
        """Return one slice with square pixels, first row on top."""
        from scipy.ndimage import zoom

        plane = np.take(volume, index, axis)
        box = [self.box[image_axis] for image_axis in range(3) if image_axis != axis]
        sizes = [self.sizes[image_axis] for image_axis in range(3) if image_axis != axis]
        plane = zoom(plane[tuple(box)], [size / self.pixel for size in sizes], order=1)
        return plane.T[::-1]


def find_window(volume, mask=None):
    """Compute the display window of a volume without units.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
    mask : ndarray of bool, shape (X, Y, Z), optional

    Returns
    -------
    (float, float)
        Zero, and a little above the 99th percentile inside the mask.
    """
    values = volume[mask] if mask is not None and mask.any() else volume[volume > 0]
    values = values[np.isfinite(values)]
    top = float(np.percentile(values, 99)) * 1.1 if values.size else 1.0
    return 0.0, top if top > 0 else 1.0


def _figure(picture, extra=0.0):
    """Make a figure in the shape of a picture, with space on its right, and axes for it."""
    from matplotlib.figure import Figure

    wide = (1 - extra) * WIDTH
    figure = Figure(figsize=(WIDTH, wide * picture.shape[0] / picture.shape[1] + 0.3))
    height = 1 - 0.3 / figure.get_figheight()
    return figure, (0, 0, 1 - extra, height)


def _show(figure, place, picture, window, colours="gray", gid=None):
    """Show a picture pixel by pixel."""
    import matplotlib

    ax = figure.add_axes(place)
    ax.set_axis_off()
    if gid:
        ax.set_gid(gid)
    shades = matplotlib.colormaps[colours].with_extremes(bad=(0, 0, 0, 0))
    ax.imshow(
        picture, cmap=shades, vmin=window[0], vmax=window[1], interpolation="none", aspect="auto"
    )
    return ax


def _write_corners(ax, corners):
    """Write the position of each slice, and mark the left side."""
    for number, (text, x, y) in enumerate(corners):
        ax.text(x + 2, y - 2, text, color="#c9d2de", fontsize=7.5, va="bottom")
        if number == 0:
            ax.text(x + 2, y * 0.5, "L", color="#c9d2de", fontsize=8.5, va="center")


def draw_borders(t1w, grey, white, affine, mask, cuts=7):
    """Draw the outer borders of grey and of white matter on slices of a T1w.

    Parameters
    ----------
    t1w : ndarray, shape (X, Y, Z)
    grey, white : ndarray, shape (X, Y, Z)
        Share of each in a voxel, in [0, 1].
    affine : ndarray, shape (4, 4)
    mask : ndarray of bool, shape (X, Y, Z)
        Brain; slices are cut to it.
    cuts : int

    Returns
    -------
    matplotlib.figure.Figure
        Blue: grey matter against fluid. Orange: white matter against grey.
    """
    mosaic = Mosaic(affine, mask, cuts)
    picture, corners = mosaic.lay(t1w)
    figure, place = _figure(picture)
    ax = _show(figure, place, picture, find_window(t1w, mask))
    limits = ax.axis()
    for share, colour in ((grey + white, COLOURS[5]), (white, COLOURS[4])):
        laid = np.nan_to_num(mosaic.lay(share)[0])
        if laid.max() > 0.5:
            ax.contour(laid, levels=[0.5], colors=[colour], linewidths=0.6)
    ax.axis(limits)
    _write_corners(ax, corners)
    for x, words, colour in (
        (0.0, "Grey matter and fluid", COLOURS[5]),
        (0.2, "White and grey matter", COLOURS[4]),
    ):
        figure.text(x, 1 - 0.15 / figure.get_figheight(), words, color=colour, va="center")
    return figure


def draw_volume(volume, affine, mask, cuts=7):
    """Draw slices of one volume along the three axes.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)
    mask : ndarray of bool, shape (X, Y, Z)
        Slices are cut to it, and grey values reach a little above those of its inside.
    cuts : int

    Returns
    -------
    matplotlib.figure.Figure
    """
    picture, corners = Mosaic(affine, mask, cuts).lay(volume)
    figure, place = _figure(picture)
    ax = _show(figure, place, picture, find_window(volume, mask))
    _write_corners(ax, corners)
    return figure


PRIMARIES = (
    ("left and right", "#e03131"),
    ("front and back", "#2b9a3e"),
    ("up and down", "#3b5bdb"),
)
"""What the three colours of a direction mean, and the colours of these words."""


BRIGHTEST = 0.75
"""FA that is drawn in full brightness; hardly any voxel of a brain has more."""


def draw_colours(colours, affine, mask, cuts=7):
    """Draw slices of the colour-coded direction of diffusion.

    Parameters
    ----------
    colours : ndarray, shape (X, Y, Z, 3)
        Red, green and blue in [0, 255], as `bids_sexclf.diffusion.colours` returns them.
    affine : ndarray, shape (4, 4)
    mask : ndarray of bool, shape (X, Y, Z)
        Slices are cut to it; outside it is black.
    cuts : int

    Returns
    -------
    matplotlib.figure.Figure
    """
    mosaic = Mosaic(affine, mask, cuts)
    laid = [mosaic.lay(colours[..., channel] * mask) for channel in range(3)]
    picture = np.stack([channel for channel, _ in laid], axis=-1)
    between = np.isnan(picture[..., :1])
    bright = np.nan_to_num(picture) / 255 / BRIGHTEST
    picture = np.concatenate([bright, ~between], axis=-1)
    figure, place = _figure(picture)
    ax = _show(figure, place, np.clip(picture, 0, 1), (0, 1))
    _write_corners(ax, laid[0][1])
    for number, (words, colour) in enumerate(PRIMARIES):
        y = 1 - 0.15 / figure.get_figheight()
        figure.text(0.14 * number, y, f"■ {words}", color=colour, va="center")
    return figure


WINDOWS = {
    "FA": (0, 1),
    "MD": (0, 3e-3),
    "AD": (0, 3e-3),
    "RD": (0, 3e-3),
    "MK": (0, 2),
    "AK": (0, 2),
    "RK": (0, 2),
    "KFA": (0, 1),
}
"""Shown range of maps, the same for every participant, so that pages compare."""


def draw_maps(maps, affine, mask, cuts=7):
    """Draw axial slices of several maps, one row each, with scale, units and values.

    Parameters
    ----------
    maps : list of (str, str, str, ndarray of shape (X, Y, Z))
        Name, what it is, units, and the map.
    affine : ndarray, shape (4, 4)
    mask : ndarray of bool, shape (X, Y, Z)
        Slices are cut to it; values are told of its inside.
    cuts : int

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    mosaic, side = Mosaic(affine, mask, cuts, "z"), 0.22
    laid = [mosaic.lay(volume * mask) for *_, volume in maps]
    picture = laid[0][0]
    tall = (1 - side) * WIDTH * picture.shape[0] / picture.shape[1]
    figure = Figure(figsize=(WIDTH, (tall + 0.12) * len(maps)))
    for row, ((name, about, units, volume), (picture, corners)) in enumerate(
        zip(maps, laid, strict=True)
    ):
        low, step = 1 - (row + 1) / len(maps), 1 / len(maps)
        height = step * tall / (tall + 0.12)
        window = WINDOWS.get(name) or _own_window(volume[mask])
        colours = "gray" if name == "FA" else "magma"
        ax = _show(figure, (0, low, 1 - side, height), picture, window, colours)
        _write_corners(ax, corners)
        _describe(figure, (1 - side + 0.015, low, side - 0.02, height), ax, (name, about), units,
                  volume[mask])  # fmt: skip
    return figure


def _own_window(values):
    """Compute the display range of a map without a fixed one."""
    low, high = np.percentile(values[np.isfinite(values)], [1, 99]) if values.size else (0, 1)
    return (min(0.0, float(low)), float(high) if high > low else float(low) + 1)


def _describe(figure, place, ax, words, units, values):
    """Write a map's name, scale and values beside it."""
    left, low, width, height = place
    factor, shown = (1e3, "10⁻³ mm²/s") if units == "mm²/s" else (1, "" if units == "1" else units)
    bar = figure.add_axes((left, low + 0.05 * height, 0.012, 0.9 * height))
    figure.colorbar(ax.images[0], cax=bar)
    bar.yaxis.set_major_formatter(lambda value, _: f"{value * factor:.3g}")
    bar.tick_params(labelsize=8, length=2)
    bar.yaxis.set_major_locator(_few())
    finite = values[np.isfinite(values)] * factor
    low5, middle, high5 = np.percentile(finite, [5, 50, 95]) if finite.size else (np.nan,) * 3
    top, x = low + 0.92 * height, left + 0.052
    figure.text(x, top, words[0], fontweight="bold", fontsize=12, va="top")
    lines = [words[1], *([f"in {shown}"] if shown else []), "", f"median {middle:.2f}"]
    lines += [f"5–95 %: {low5:.2f} to {high5:.2f}"]
    inches = figure.get_figheight()
    for number, line in enumerate(lines):
        y = top - (0.24 + 0.17 * number) / inches
        figure.text(x, y, line, fontsize=8.5, color=SOFT, va="top")


def _few():
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4)


def draw_residual(residual, affine, mask, cuts=7):
    """Draw the residual of a step of a series.

    Parameters
    ----------
    residual : ndarray, shape (X, Y, Z) or (X, Y, Z, N)
        Before minus after, in the units of the scan.
    affine : ndarray, shape (4, 4)
    mask : ndarray of bool, shape (X, Y, Z)
    cuts : int

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    series = residual if residual.ndim == 4 else residual[..., None]
    size = np.sqrt(np.mean(np.square(series, dtype=np.float64), axis=-1)).astype(np.float32)
    one, mosaic = series[..., series.shape[-1] // 2], Mosaic(affine, mask, cuts, "z")
    reach = float(np.percentile(np.abs(one[mask]), 99)) if mask.any() else 1.0
    rows = [
        ("Root mean square over volumes", size, find_window(size, mask), "gray"),
        (f"Volume {series.shape[-1] // 2 + 1}, signed", one, (-(reach or 1), reach or 1), "RdBu_r"),
    ][: 2 if series.shape[-1] > 1 else 1]
    laid = [mosaic.lay(volume) for _, volume, _, _ in rows]
    wide = 0.93
    tall = wide * WIDTH * laid[0][0].shape[0] / laid[0][0].shape[1]
    figure = Figure(figsize=(WIDTH, (tall + 0.35) * len(rows)))
    for row, ((name, _, window, colours), (picture, corners)) in enumerate(
        zip(rows, laid, strict=True)
    ):
        low, step = 1 - (row + 1) / len(rows), tall / (tall + 0.35) / len(rows)
        ax = _show(figure, (0, low, wide, step), picture, window, colours)
        _write_corners(ax, corners)
        figure.text(0, low + step + 0.06 / figure.get_figheight(), name, fontweight="bold")
        bar = figure.add_axes((wide + 0.008, low + 0.08 * step, 0.012, 0.84 * step))
        figure.colorbar(ax.images[0], cax=bar)
        bar.tick_params(labelsize=8, length=2)
    return figure
