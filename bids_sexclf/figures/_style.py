"""The common style of all figures, and the order of their content."""

SEX_COLOURS = {"female": "#D55E00", "male": "#0072B2"}
SEX_MARKERS = {"female": "o", "male": "^"}
"""Sexes differ in colour and in shape, so that neither carries the meaning alone."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette, which readers with any colour vision tell apart."""

GREYS = (("#444444", "--"), ("#777777", ":"), ("#777777", "-."), ("#AAAAAA", (0, (5, 1, 1, 1))))
"""Colour and dash of the baselines, which step back behind the networks."""

INK, FAINT = "#222222", "#BBBBBB"
WIDTH = 9.2
"""Width of a figure, inches: the text column of the report."""

GROUP = ["model", "map", "method", "fill", "atlas"]
"""Columns of regions that name what a correction over regions was made within."""

IDS = ["participant_id", "session_id"]
"""Columns that say whom a row is about."""

MANY = 400
"""Points above which a cloud is embedded as an image, to keep the report light."""

STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name from a table may hold a dollar sign
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "savefig.facecolor": "none",
}


def make_panels(count, columns=3, height=3.0, **share):
    """Make a figure of equal panels.

    Parameters
    ----------
    count : int
        Panels that are drawn on; the others of the last row are hidden.
    columns : int
        Most panels side by side.
    height : float
        Height of a row, inches.
    **share
        ``sharex``, ``sharey`` of matplotlib.

    Returns
    -------
    matplotlib.figure.Figure
    list of matplotlib.axes.Axes
        `count` of them.
    """
    from matplotlib.figure import Figure

    columns = min(columns, count)
    rows = -(-count // columns)
    # A single panel would be stretched over the page.
    width = {1: 5.0, 2: 7.6}.get(columns, WIDTH)
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **share).ravel()
    for extra in axes[count:]:
        extra.set_visible(False)
    return figure, list(axes[:count])


def list_pairs(frame):
    """List the (model, map) pairs of a table in order of first appearance.

    Parameters
    ----------
    frame : pandas.DataFrame
        With columns model and map.

    Returns
    -------
    list of (str, str)
    """
    return list(dict.fromkeys(zip(frame["model"], frame["map"], strict=True)))


def list_networks(tables):
    """List the (model, map) pairs that are not baselines.

    Parameters
    ----------
    tables : dict
        Reads ``comparisons`` and ``scores``.

    Returns
    -------
    list of (str, str)
    """
    compared = tables["comparisons"]
    baselines = set(compared["baseline"]) | {"shuffled"}
    source = compared if len(compared) else tables["scores"]
    return [pair for pair in list_pairs(source) if pair[0] not in baselines]


def list_drawn(tables, frame):
    """List the (model, map) pairs that are not baselines and have rows in a table.

    Parameters
    ----------
    tables : dict
        Reads ``comparisons`` and ``scores``.
    frame : pandas.DataFrame
        With columns model and map.

    Returns
    -------
    list of (str, str)
    """
    listed = list_pairs(frame)
    return [pair for pair in list_networks(tables) if pair in listed]


def average_repeats(rows, columns):
    """Average the values of a participant over repeats, so that each is one point.

    Parameters
    ----------
    rows : pandas.DataFrame
        Of one model and map.
    columns : list of str
        What to average.

    Returns
    -------
    pandas.DataFrame
        With the columns ``IDS`` and `columns`.
    """
    return rows.groupby(IDS, dropna=False)[columns].mean().reset_index()


def scatter_sex(ax, sex, x, y, label):
    """Draw the points of one sex, with its colour and shape.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    sex : {"female", "male"}
    x, y : numpy.ndarray of float, shape (n,)
    label : str
        For the legend.
    """
    ax.scatter(
        x,
        y,
        16,
        SEX_COLOURS[sex],
        marker=SEX_MARKERS[sex],
        alpha=0.5,
        linewidths=0,
        rasterized=len(x) > MANY,
        label=label,
    )


def hang_legend(ax, **options):
    """Draw a legend of points below a panel.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    **more
        Other choices of matplotlib's legend.
    """
    place = {"loc": "upper left", "bbox_to_anchor": (-0.02, -0.18)}
    ax.legend(**place, handletextpad=0.2, markerscale=1.5, **options)


def take(frame, pair):
    """Return the rows of one (model, map) pair.

    Parameters
    ----------
    frame : pandas.DataFrame
    pair : (str, str)

    Returns
    -------
    pandas.DataFrame
    """
    return frame[(frame["model"] == pair[0]) & (frame["map"] == pair[1])]


def name_pair(pair):
    """Return a short name of a model and its map.

    Parameters
    ----------
    pair : (str, str)

    Returns
    -------
    str

    Examples
    --------
    >>> name_pair(("cnn3", "FA"))
    'cnn3, FA'
    >>> name_pair(("brain_size", "table"))
    'brain_size'
    """
    model, map_name = pair
    return model if map_name == "table" else f"{model}, {map_name}"


def name_group(keys, regions):
    """Return the name of a group of regions: model, map, and other keys that vary in the table.

    Parameters
    ----------
    keys : tuple of str
        Values of ``GROUP``.
    regions : pandas.DataFrame
        The whole table.

    Returns
    -------
    str
    """
    varying = [
        str(value)
        for column, value in zip(GROUP[2:], keys[2:], strict=True)
        if regions[column].nunique() > 1
    ]
    return ", ".join([*keys[:2], *varying])
