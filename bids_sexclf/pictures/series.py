"""Draw a diffusion series: its gradients on the sphere, and its motion by volume."""

import numpy as np

from bids_sexclf.pictures import COLOURS, GRID, INK, SOFT, WARNING, WIDTH


def _colour_volumes(bvals, shells):
    """Return the colour of each volume: that of its shell; grey for b0."""
    colours = np.array(["#9aa4b2"] * len(bvals), dtype=object)
    for number, (_, members) in enumerate(shells):
        colours[members] = COLOURS[number % len(COLOURS)]
    return list(colours)


def draw_gradients(bvals, bvecs, shells):
    """Draw the b-value of every volume, and each shell's directions with their antipodes.

    Parameters
    ----------
    bvals : ndarray, shape (N,)
        s/mm².
    bvecs : ndarray, shape (N, 3)
        Unit vectors along the image axes.
    shells : list of (float, ndarray of int)
        As `diffusion.find_shells` returns them.

    Returns
    -------
    matplotlib.figure.Figure

    Notes
    -----
    A direction and its antipode measure the same: on the visible half of the sphere, each axis
    appears once, as a filled point or as the ring of its antipode.
    """
    from matplotlib.figure import Figure

    columns = min(len(shells), 5) or 1
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.subplots(1, 1 + columns, width_ratios=[1.25, *[1] * columns])
    axes = np.atleast_1d(axes)
    colours = _colour_volumes(bvals, shells)
    axes[0].vlines(np.arange(len(bvals)), 0, bvals, colors=colours, linewidth=0.6, alpha=0.6)
    axes[0].scatter(np.arange(len(bvals)), bvals, 12, colours)
    axes[0].set(xlabel="volume", ylabel="b-value (s/mm²)", ylim=(-60, max(bvals.max(), 1) * 1.08))
    low = len(bvals) - sum(len(members) for _, members in shells)
    axes[0].set_title(f"{len(bvals)} volumes, {low} at b = 0")
    axes[0].xaxis.get_major_locator().set_params(integer=True)
    for number, (ax, (value, members)) in enumerate(zip(axes[1:], shells, strict=False)):
        _draw_sphere(ax, bvecs[members], COLOURS[number % len(COLOURS)])
        title = f"b ≈ {round(value / 10) * 10:.0f}: {len(members)} directions"
        ax.set_title(title, loc="center")
        ax.set_xlabel(f"nearest two {nearest_axes(bvecs[members]):.0f}° apart")
    for ax in axes[1 + len(shells) :]:
        ax.set_visible(False)
    return figure


def nearest_axes(bvecs):
    """Return the smallest angle between two measured axes.

    Parameters
    ----------
    bvecs : ndarray, shape (n, 3)

    Returns
    -------
    float
        Degrees in [0, 90]; not a number for fewer than two.

    Examples
    --------
    >>> round(nearest_axes(np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0]])), 6)
    0.0
    """
    if len(bvecs) < 2:
        return float("nan")
    unit = bvecs / np.maximum(np.linalg.norm(bvecs, axis=1, keepdims=True), 1e-12)
    cosines = np.abs(unit @ unit.T)[np.triu_indices(len(unit), 1)]
    return float(np.degrees(np.arccos(np.clip(cosines.max(), 0, 1))))


VIEW = (35.0, 25.0)
"""From where spheres are seen: degrees of azimuth and of elevation."""


def _turn_to_view(vectors):
    """Rotate vectors so that the third axis points to the viewer."""
    azimuth, elevation = np.radians(VIEW)
    ca, sa, ce, se = np.cos(azimuth), np.sin(azimuth), np.cos(elevation), np.sin(elevation)
    right = [-sa, ca, 0]
    up = [-se * ca, -se * sa, ce]
    return vectors @ np.array([right, up, [ce * ca, ce * sa, se]]).T


def _draw_sphere(ax, bvecs, colour):
    """Draw the near half of a sphere: directions (filled), antipodes (open), three circles."""
    turn = np.linspace(0, 2 * np.pi, 241)
    ax.fill(np.cos(turn), np.sin(turn), color="#f6f8fb", zorder=0)
    ax.plot(np.cos(turn), np.sin(turn), color="#9aa4b2", linewidth=0.9, zorder=1)
    circle = np.stack([np.cos(turn), np.sin(turn), np.zeros_like(turn)], axis=1)
    for order, name in (((0, 1, 2), "z"), ((0, 2, 1), "y"), ((2, 0, 1), "x")):
        x, y, depth = _turn_to_view(circle[:, order]).T
        ax.plot(np.where(depth > 0, x, np.nan), y, color=GRID, linewidth=0.9, zorder=1)
        tip = _turn_to_view(np.eye(3)["xyz".index(name)][None])[0]
        ax.text(tip[0] * 1.13, tip[1] * 1.13, name, color=SOFT, fontsize=8, ha="center",
                va="center")  # fmt: skip
    for sign, face in ((1, colour), (-1, "white")):
        x, y, depth = _turn_to_view(sign * bvecs).T
        in_front = (depth >= 0) & (np.linalg.norm(bvecs, axis=1) > 0.1)
        ax.scatter(x[in_front], y[in_front], 26, face, edgecolors=colour, zorder=2)
    ax.set(aspect="equal", xlim=(-1.2, 1.2), ylim=(-1.2, 1.2), xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)


def draw_series(bvals, shells, displacement, residuals, flagged):
    """Draw b-value, motion and slice residuals over the volumes of a series.

    Parameters
    ----------
    bvals : ndarray, shape (N,)
        s/mm².
    shells : list of (float, ndarray of int)
    displacement : ndarray, shape (N,)
        Against the volume before, mm; not numbers where unknown.
    residuals : ndarray, shape (Z, N)
        Signal beside what the tensor predicts, per slice; a share, not a number where a slice
        holds no brain.
    flagged : ndarray of bool, shape (Z, N)
        Slices that stand out.

    Notes
    -----
    A number that is unknown for all volumes has no panel.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    has_values = {"trace": np.isfinite(displacement).all(), "carpet": np.isfinite(residuals).any()}
    heights = {"strip": 0.28} | {
        name: height for name, height in {"trace": 1.2, "carpet": 2.4}.items() if has_values[name]
    }
    tall = 1.4 * sum(heights.values()) + 0.3
    figure = Figure(figsize=(WIDTH, tall), layout="constrained")
    panels = figure.subplots(
        len(heights), 1, sharex=True, height_ratios=list(heights.values()), squeeze=False
    )[:, 0]
    panel = dict(zip(heights, panels, strict=True))
    strip = panel["strip"]
    colours, volumes = _colour_volumes(bvals, shells), np.arange(len(bvals))
    strip.bar(volumes, 1, 1.0, color=colours)
    strip.set(yticks=[], ylabel="b", ylim=(0, 1), xlim=(-0.5, len(bvals) - 0.5))
    for spine in strip.spines.values():
        spine.set_visible(False)
    names = [("0", "#9aa4b2")]
    names += [
        (f"{round(value / 10) * 10:.0f}", COLOURS[number % len(COLOURS)])
        for number, (value, _) in enumerate(shells)
    ]
    for number, (name, colour) in enumerate(names):
        strip.text(
            1 - 0.07 * (len(names) - 1 - number), 1.35, f"■ {name}", color=colour, ha="right",
            transform=strip.transAxes, fontsize=9,
        )  # fmt: skip
    strip.tick_params(length=0)
    strip.set_title("b-value (s/mm²)")
    if has_values["trace"]:
        _draw_trace(panel["trace"], volumes, displacement)
    if has_values["carpet"]:
        _draw_carpet(figure, panel["carpet"], residuals, flagged)
    panels[-1].set_xlabel("volume")
    panels[-1].xaxis.get_major_locator().set_params(integer=True)
    return figure


def _draw_trace(ax, volumes, displacement):
    """Draw the displacement of each volume."""
    ax.fill_between(volumes, displacement, step="mid", color="#0072B2", alpha=0.15, linewidth=0)
    ax.step(volumes, displacement, where="mid", color="#0072B2", linewidth=1.2)
    after = displacement[1:] if len(displacement) > 1 else displacement
    ax.axhline(after.mean(), color=SOFT, linewidth=0.8, linestyle=":")
    ax.set(ylabel="mm", ylim=(0, max(1.0, displacement.max() * 1.1)))
    ax.set_title(
        f"Displacement against the volume before: mean {after.mean():.2f} mm, "
        f"largest {displacement.max():.2f} mm"
    )


def _draw_carpet(figure, ax, residuals, flagged):
    """Draw the residual of each slice of each volume."""
    import matplotlib

    shown = 100 * residuals
    magnitudes = np.abs(shown[np.isfinite(shown)])
    reach = float(np.clip(np.percentile(magnitudes, 99.5), 10, 60))
    shades = matplotlib.colormaps["RdBu_r"].with_extremes(bad="#e9edf2")
    image = ax.imshow(
        shown, cmap=shades, vmin=-reach, vmax=reach, aspect="auto", origin="lower",
        interpolation="none",
    )  # fmt: skip
    rows, columns = np.nonzero(flagged)
    ax.scatter(columns, rows, 34, "none", marker="s", edgecolors=WARNING, linewidths=1.1)
    summary = f"{len(rows)} slices stand out (framed)" if len(rows) else "no slice stands out"
    ax.set(ylabel="slice")
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.set_title(f"Signal beside the tensor's prediction: {summary}", color=INK)
    bar = figure.colorbar(image, ax=ax, pad=0.01, fraction=0.03)
    bar.set_label("%")
