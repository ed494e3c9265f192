"""Show the AUC of a model among women and men of similar brain size."""

from bids_sexclf.figures._style import COLOURS, WIDTH, list_pairs

SECTION = "What else could explain it"
ORDER = 45
KIND = "classes"
READS = ("matching",)
CAPTION = (
    "AUC among women and men who are paired by brain volume, from all who can be paired (left) to "
    "pairs of nearly one volume (right), with intervals and the number of pairs. The models are "
    "the same: nothing is fitted again. A line that falls to 0.5 says that the model tells brain "
    "size. Bad would be trusting the right end of a line where few pairs are left."
)
MOST = 8


def draw(tables):
    """Draw one line per model and map.

    Parameters
    ----------
    tables : dict
        Reads ``matching``.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    from matplotlib.figure import Figure

    table = tables["matching"]
    table = table[table["auc"].notna()]
    if table.empty:
        return None
    pairs = list_pairs(table)
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    ax = figure.subplots()
    calipers = sorted(table["caliper_ml"].dropna().unique(), reverse=True)
    place = {value: number + 1 for number, value in enumerate(calipers)}
    ax.axhline(0.5, color="#888888", linewidth=0.8)
    for number, (model, map_name) in enumerate(pairs[:MOST]):
        rows = table[(table["model"] == model) & (table["map"] == map_name)]
        colour = COLOURS[number % len(COLOURS)]
        shift = (number - (min(len(pairs), MOST) - 1) / 2) * 0.08
        at = rows["caliper_ml"].map(place).fillna(0).to_numpy(float) + shift
        ax.plot(at, rows["auc"], "o-", color=colour, markersize=5, label=f"{model} on {map_name}")
        ax.vlines(at, rows["ci_low"], rows["ci_high"], color=colour, linewidth=1.3)
    first = table[(table["model"] == pairs[0][0]) & (table["map"] == pairs[0][1])]
    counts = first.assign(at=first["caliper_ml"].map(place).fillna(0)).set_index("at")["pairs"]
    words = {0: "any", **{at: f"{value:g} mL" for value, at in place.items()}}
    names = [f"{word}\n{counts.get(at, 0):.0f} pairs" for at, word in words.items()]
    ax.set_xticks(list(words), names)
    ax.set(xlabel="largest difference within a pair", ylabel="AUC", ylim=(0.3, 1.02))
    ax.legend(frameon=False, fontsize="small")
    return figure
