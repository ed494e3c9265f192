"""Show the regions that a network needs on the brain."""

from bids_sexclf.figures._style import GROUP, WIDTH, name_group
from bids_sexclf.stats.regional import is_named

SECTION = "Where {differ}"
ORDER = 70
READS = ("regions", "template", "atlas")
CAPTION = (
    "The same numbers on the template brain: red where hiding the region spoils the answer "
    "({effect}), blue where it mends it; the fainter, the nearer to zero. Black outlines "
    "mark regions that the network is shown to lean on (family-wise p up to 0.05, with regions of "
    "donors put in); without any outline it is shown to lean on none. Bad would be reading "
    "colours without an outline. Slices are seen from above and from behind: left (L) is left."
)
MOST_MOSAICS = 9
PLANES = (("z", 2), ("y", 1), ("x", 0))
"""Axial, coronal and sagittal: the world axis that a slice cuts, and its number."""

PLACES = {"left": 0.02, "right": 0.88, "bottom": 0.02, "top": 0.86, "wspace": 0.12, "hspace": 0.25}
BAR = (0.9, 0.12, 0.012, 0.66)
"""Where slices and colour bar lie; fixed, since a computed layout of many panels takes seconds."""

SCALE_MM = 1.25
"""Pixel size slices are drawn with."""

STEP = 3
"""Steps between the levels of a colour channel; unseen, and images pack better."""


def draw(tables):
    """Draw slices with the signed mean drop of each region.

    All regions are shown, faint where weak; significant ones have an outline, so
    that no threshold hides a region.

    Parameters
    ----------
    tables : dict
        Reads ``regions``, ``template`` and ``atlas``.

    Returns
    -------
    matplotlib.figure.Figure or None

    References
    ----------
    Taylor et al. 2023, Highlight results, don't hide them.
    doi:10.1016/j.neuroimage.2023.120138
    """
    from matplotlib.figure import Figure

    regions = tables["regions"].query("n_participants > 0")
    if regions.empty or tables.get("template") is None or tables.get("atlas") is None:
        return None
    (template, affine), (atlas, _) = (_reorient(*tables[name]) for name in ("template", "atlas"))
    template, atlas, affine = _crop(template, atlas, affine)
    all_groups = list(regions.groupby(GROUP, sort=False, dropna=False))
    groups = all_groups[:MOST_MOSAICS]
    # A single network gets a row per plane; several networks get one row each.
    rows = [[plane] for plane in PLANES] if len(groups) == 1 else [list(PLANES)]
    height = sum(1.5 if len(row) == 1 else 1.25 for row in rows) + 0.45
    figure = Figure(figsize=(WIDTH, height * len(groups)))
    blocks = figure.subfigures(len(groups), 1, squeeze=False).ravel()
    # One scale for all panels; any scale will do where every drop is zero.
    reach = max(group["mean"].abs().max() for _, group in groups) or 1.0
    for block, (keys, group) in zip(blocks, groups, strict=True):
        _draw_mosaic(block, rows, group, reach, template, atlas.astype(int), affine)
        block.suptitle(name_group(keys, regions), x=0.01, ha="left", weight="bold", size=10)
    if len(all_groups) > len(groups):
        figure.text(0.5, 0, f"{len(all_groups) - len(groups)} more in the table", ha="center")
    return figure


def _reorient(array, affine):
    """Reorder the axes of a volume to right, front and top."""
    import nibabel as nib
    import numpy as np

    image = nib.as_closest_canonical(nib.Nifti1Image(np.asarray(array, np.float32), affine))
    return image.get_fdata(), image.affine


def _crop(template, atlas, affine):
    """Crop both volumes to the brain, so that slices fill their panels."""
    from bids_sexclf.volumes import Grid, crop_grid

    grid = Grid(template.shape, affine)
    grid, box = crop_grid(grid, (template > 0.05 * template.max()) | (atlas > 0))
    return template[box], atlas[box], grid.affine


def _draw_mosaic(block, rows, group, reach, template, atlas, affine):
    """Draw the slices of one network, and the colour bar."""
    import numpy as np
    from matplotlib import cm, colors

    drop = np.zeros(max(atlas.max(), group["region"].max()) + 1)
    drop[group["region"]] = group["mean"]
    sure = np.isin(atlas, group.loc[is_named(group), "region"])
    scale = cm.ScalarMappable(colors.Normalize(-reach, reach), "RdBu_r")
    shades = _blend(np.full(256, 0.65), np.linspace(-reach, reach, 256), scale)
    count = 7 if len(rows) > 1 else 9
    axes = block.subplots(len(rows), count, squeeze=False, gridspec_kw=PLACES)
    for row, planes in zip(axes, rows, strict=True):
        cuts = [cut for plane in planes for cut in _choose_cuts(plane, atlas, count // len(planes))]
        for ax in row:
            ax.axis("off")
        for number, (ax, (letter, axis, index)) in enumerate(zip(row, cuts, strict=True)):
            slices = [volume.take(index, axis) for volume in (template, drop[atlas], sure)]
            _draw_slice(ax, slices, scale, template.max(), np.delete(_zooms(affine), axis))
            _label(ax, letter, affine[axis, axis] * index + affine[axis, 3])
            if letter != "x" and letter not in [cut[0] for cut in cuts[:number]]:
                _label_sides(ax)
    colour_map = cm.ScalarMappable(scale.norm, colors.ListedColormap(shades))
    bar = block.colorbar(colour_map, cax=block.add_axes(BAR))
    bar.set_label("fall of P(correct)", size=8)
    bar.outline.set_visible(False)


def _zooms(affine):
    import numpy as np

    return np.linalg.norm(affine[:3, :3], axis=0)


def _choose_cuts(plane, atlas, count):
    """Spread slices evenly over the extent of the atlas."""
    import numpy as np

    letter, axis = plane
    other_axes = tuple(image_axis for image_axis in range(3) if image_axis != axis)
    filled = np.flatnonzero((atlas > 0).any(axis=other_axes))
    low, high = filled.min(), filled.max()
    share = (np.arange(count) + 1) / (count + 1)
    return [(letter, axis, int(round(low + part * (high - low)))) for part in share]


def _blend(grey, values, scale):
    """Blend colours over greys; values near zero are fainter."""
    import numpy as np

    opacity = 0.9 * (np.abs(values)[..., None] / scale.norm.vmax) ** 0.7
    return (1 - opacity) * grey[..., None] + opacity * scale.to_rgba(values)[..., :3]


def _draw_slice(ax, slices, scale, brightest, zooms):
    """Draw a map over the template in one image, and outline what is significant."""
    import numpy as np
    from scipy.ndimage import zoom

    template, drop, sure = slices
    factor = zooms / SCALE_MM
    bright = np.clip(zoom(template, factor, order=1) / (brightest or 1), 0, 1)
    # The template fades to transparent, so that the brain has no dark rim.
    inside = np.clip(bright / 0.35, 0, 1)
    grey = 1 - inside * (0.8 - 0.7 * bright)
    pixels = _blend(grey, zoom(drop, factor, order=1), scale)
    pixels = (255 * pixels / STEP).astype(np.uint8).transpose(1, 0, 2) * STEP
    ax.imshow(pixels, origin="lower", interpolation="none")
    if sure.any():
        edge = zoom(sure.astype(float), factor, order=1).T
        ax.contour(edge, [0.5], colors="black", linewidths=0.9)


def _label(ax, letter, place):
    """Write the position of a slice."""
    ax.set_title(
        f"{letter} = {place:.0f} mm".replace("-", "\u2212"),
        loc="center",
        size=7.5,
        pad=2,
        weight="normal",
    )


def _label_sides(ax):
    for place, side, align in ((0.0, "L", "right"), (1.0, "R", "left")):
        ax.text(
            place, 0.5, side, transform=ax.transAxes, size=8, weight="bold", ha=align, va="center"
        )
