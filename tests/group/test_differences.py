"""Which regions differ, from maps on disk: a planted truth, and what cannot be tested."""

import numpy as np
import pytest

from bids_sexclf.group import base
from bids_sexclf.tables import read_table

PLANTED = 8
STAGES = ("cohort", "differences")


def _blocks(desk):
    table = read_table(desk.folder / "differences.tsv", "differences")
    return {key: rows.set_index("region") for key, rows in table.groupby("adjusted_for")}


def test_planted_region_is_found_and_told(tmp_path, write_derivatives, run_study):
    choices = {"models": ["logistic"], "baselines": ["brain_size"], "features": "region_means"}
    root = write_derivatives(tmp_path, n=48, effect=4.0)
    desk = run_study(root, attributions=[], bootstraps=100, permutations=200, **choices)
    blocks = _blocks(desk)
    assert set(blocks) == {"nothing", "brain_volume_ml+age_years"}
    for rows in blocks.values():
        assert len(rows) == 24 and (rows["n_participants"] == 48).all()
        assert rows["p_fwe"].idxmin() == PLANTED
        assert (rows["p_fwe"] < 0.05).sum() == 1
        assert (rows["p_fwe"] >= rows["p"]).all()
        planted = rows.loc[PLANTED]
        assert planted["ci_low"] < 4.0 < planted["ci_high"] and planted["ci_low"] > 2
    # What is finished stays.
    assert base.run_stage(desk, "differences") == "finished"
    added = desk.read("added").set_index("confounds")["verdict"]
    assert added["brain_volume_ml"] == added["brain_volume_ml+age_years"] == "adds"
    assert desk.read("matching")["pairs"].iloc[0] == 24
    said = read_table(desk.folder / "claims.tsv", "claims").set_index("region")["verdict"]
    assert said[PLANTED] == "differs; no model was asked"
    page = (desk.folder / "report.html").read_text()
    assert "1 of 24 regions of Lobes differs between the sexes on T1w" in page
    assert "It adds to what brain size tells of sex" in page and "explains" not in page
    assert any("differs between the sexes on T1w" in line for line in base.findings(desk))


def test_families_and_sessions_are_counted_once(tmp_path, write_derivatives, run_study):
    families = np.repeat([f"f{i}" for i in range(20)], 2)
    desk = run_study(write_derivatives(tmp_path, n=40, families=families), STAGES)
    rows = _blocks(desk)["nothing"]
    # Every family is a woman and a man: their sexes are exchanged within families.
    assert (rows["p"] > 0).all() and rows["reason"].isna().all()
    assert (rows["p_fwe"] < 0.05).sum() <= 1


@pytest.mark.parametrize("n", [4])
def test_too_few_people_get_a_word_and_no_number(tmp_path, write_derivatives, run_study, n):
    desk = run_study(write_derivatives(tmp_path, n=n), STAGES)
    for rows in _blocks(desk).values():
        assert (rows["n_participants"] == 0).all() and rows["reason"].notna().all()
        assert rows[["d", "ci_low", "statistic", "p", "p_fwe"]].isna().all(axis=None)
    assert _blocks(desk)["nothing"]["reason"].str.contains("needed at least 6").all()
