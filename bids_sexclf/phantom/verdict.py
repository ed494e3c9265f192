"""Compare what a study found with what was planted: ``python -m bids_sexclf.phantom.verdict``."""

import json
import math
import sys
from pathlib import Path

from bids_sexclf.errors import REFUSALS, InputError
from bids_sexclf.report.claims import split_blocks
from bids_sexclf.stats.regional import find_strongest, is_named
from bids_sexclf.tables import read_table


def verdict(dataset, study):
    """Return one line that compares what a study found with what was planted.

    Parameters
    ----------
    dataset : path-like
        The synthetic dataset.
    study : path-like
        Folder of the study made from it.

    Returns
    -------
    str
        AUC of the network and of brain size alone, the region that differs most between the
        sexes, the region that the network leans on most, the planted region, and the report's
        path. A region is named only if its family-wise p is at most .05.

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
    differences = split_blocks(read_table(Path(study, "differences.tsv"), "differences"))[0]
    regions = read_table(Path(study, "regions.tsv"), "regions").query("p_fwe.notna()")
    network, kind = scores[["model", "map"]].iloc[0]
    used = regions[(regions["model"] == network) & (regions["map"] == kind)]
    differing = differences[(differences["map"] == kind) & differences["p_fwe"].notna()]
    planted = truth["EffectRegionName"] if truth["EffectSize"] else "none"
    return (
        f"AUC of {network}: {_write_auc(scores, network, kind)}; of brain size alone: "
        f"{_write_auc(scores, 'brain_size', 'table')}; differs between the sexes: "
        f"{_name_regions(differing, _find_smallest_p)}; {network} leans on: "
        f"{_name_regions(used, find_strongest)}; planted: {planted}; "
        f"report: {Path(study, 'report.html')}"
    )


def _find_smallest_p(rows):
    """Return the row of the smallest family-wise p; among equals that of the largest effect."""
    return rows.assign(size=-rows["d"].abs()).sort_values(["p_fwe", "size"]).iloc[0]


def _name_regions(rows, find_first):
    """Name the first of the regions that a test has shown, and count the others."""
    count = int(is_named(rows).sum())
    if not count:
        return "no region is shown"
    others = f" and {count - 1} more" if count > 1 else ""
    return f"{find_first(rows)['name']}{others}"


def _write_auc(scores, model, kind):
    """Write the AUC of a model with its interval."""
    rows = scores[(scores["model"] == model) & (scores["map"] == kind)]
    if rows.empty:
        return "not studied"
    row = rows.iloc[0]
    if math.isnan(row.ci_low):
        return f"{row.estimate:.2f}"
    return f"{row.estimate:.2f} [{row.ci_low:.2f}, {row.ci_high:.2f}]"


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
