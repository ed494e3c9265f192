"""Compare a study with the planted effect: ``python -m bids_sexclf.phantom.verdict``."""

import json
import sys
from pathlib import Path

from bids_sexclf.errors import REFUSALS, InputError
from bids_sexclf.stats.regional import find_strongest, is_named
from bids_sexclf.tables import read_table


def verdict(dataset, study):
    """Return one line that compares the result with the planted effect.

    Parameters
    ----------
    dataset : path-like
        The synthetic dataset.
    study : path-like
        Folder of the study made from it.

    Returns
    -------
    str
        AUC of the network and of brain size alone, the region the network leans on, the planted
        region, and where the report is.

    Raises
    ------
    InputError
        If the dataset is not synthetic, or the study is not finished.
    """
    path = Path(dataset, "derivatives", "phantom", "truth.json")
    if not path.exists():
        raise InputError(
            f"Found no {path}, needed the truth of a synthetic dataset. Make one by "
            "bids-sexclf-phantom."
        )
    truth = json.loads(path.read_text())
    scores = read_table(Path(study, "scores.tsv"), "scores").query("score == 'auc'")
    regions = read_table(Path(study, "regions.tsv"), "regions")
    network, map_name = regions[["model", "map"]].iloc[0]
    network_regions = regions[(regions["model"] == network) & (regions["map"] == map_name)]
    network_regions = network_regions[network_regions["p_fwe"].notna()]
    planted = truth["EffectRegionName"] if truth["EffectSize"] else "none"
    leaning = _name_regions(network_regions)
    return (
        f"AUC of {network}: {_auc(scores, network, map_name)}; of brain size alone: "
        f"{_auc(scores, 'brain_size', 'table')}; leans on: {leaning}; planted: {planted}; "
        f"report: {Path(study, 'report.html')}"
    )


def _name_regions(rows):
    """Return the strongest region that the network leans on, and the number of further ones."""
    named = int(is_named(rows).sum())
    if not named:
        return "no region that is shown"
    further = f" and {named - 1} more" if named > 1 else ""
    return f"{find_strongest(rows)['name']}{further}"


def _auc(scores, model, map_name):
    """Return the AUC of a model with its interval, as text."""
    rows = scores[(scores["model"] == model) & (scores["map"] == map_name)]
    if rows.empty:
        return "not studied"
    row = rows.iloc[0]
    spread = f" [{row.ci_low:.2f}, {row.ci_high:.2f}]" if row.ci_low == row.ci_low else ""
    return f"{row.estimate:.2f}{spread}"


def main(argv=None):
    """Print the verdict.

    Parameters
    ----------
    argv : list of str, optional
        Dataset and study.

    Returns
    -------
    int
        Exit code.
    """
    arguments = sys.argv[1:] if argv is None else argv
    try:
        if len(arguments) != 2:
            raise InputError(f"Found {len(arguments)} arguments, needed DATASET STUDY. Give both.")
        print(verdict(*arguments))
    except REFUSALS as fault:
        print(f"verdict: {fault}", file=sys.stderr)
        return fault.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
