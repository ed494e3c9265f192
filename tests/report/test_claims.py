"""Which regions differ and which are used, in words, and nothing that the p-values do not say."""

import pandas as pd
import pytest

from bids_sexclf.report import claims


def _differences(p, adjusted=None):
    rows = []
    for block, values in (("nothing", p), ("brain_volume_ml+age_years", adjusted or [])):
        for region, value in enumerate(values, start=1):
            numbers = {"d": 0.8, "ci_low": 0.3, "ci_high": 1.3, "statistic": -value}
            names = {"map": "FA", "atlas": "JHU", "region": region, "name": f"R{region}"}
            why = None if value == value else "4 people, needed at least 6"
            about = {"hemisphere": "B", "adjusted_for": block, "p_fwe": value, "reason": why}
            rows.append(names | numbers | about)
    return pd.DataFrame(rows)


def _regions(p, model="cnn3"):
    table = pd.DataFrame({"region": range(1, len(p) + 1), "p_fwe": p})
    return table.assign(model=model, map="FA")


def test_each_region_gets_its_words():
    nan = float("nan")
    used = pd.concat([_regions([0.01, 0.2, 0.01, 0.2, nan]), _regions([0.03] * 3, "knn")])
    used = used[~((used["model"] == "knn") & (used["region"] == 2))]
    table = claims.judge_regions(_differences([0.01, 0.05, 0.051, 0.9, 0.01, nan]), used)
    assert table["verdict"].tolist() == [
        claims.BOTH,
        claims.DIFFERS,
        claims.USED,
        claims.NEITHER,
        claims.UNASKED,
        claims.UNTESTED,
    ]
    assert table["used_by"].fillna("").tolist()[:3] == ["cnn3, knn", "", "cnn3, knn"]


def test_rows_without_a_claim_name_nothing():
    """Fills that carry no claim have no family-wise p."""
    table = claims.judge_regions(_differences([0.01]), _regions([float("nan")]).assign(p=1e-9))
    assert table["verdict"].tolist() == [claims.UNASKED]


@pytest.mark.parametrize(
    ("p", "adjusted", "tone", "words"),
    [
        ([0.01, 0.2], [0.02, 0.9], "good", "1 of them is shown to differ beyond brain size and"),
        ([0.01, 0.2], [0.2, 0.01], "caution", "None of them is shown to differ beyond brain size"),
        ([0.01, 0.2], None, "caution", "could not be adjusted for"),
        ([0.06, 0.2], [0.01, 0.01], "plain", "No region of JHU is shown to differ"),
        ([float("nan")] * 2, None, "caution", "could be compared on FA: 4 people, needed"),
    ],
)
def test_differences_are_said_with_what_they_are_adjusted_for(p, adjusted, tone, words):
    (finding,) = claims.say_differences(_differences(p, adjusted), 0.95)
    assert finding.tone == tone and words in finding.text


def test_features_of_a_table_are_no_regions():
    table = _differences([0.01, 0.5], [0.2, 0.5]).assign(map="features", region=None)
    (finding,) = claims.say_differences(table, 0.95)
    assert finding.text.startswith("1 of 2 features of JHU differs between the sexes, first R1")
    # Without an index, features are told apart by their names.
    assert "None of them is shown to differ beyond" in finding.text
    later = _differences([0.01, 0.5], [0.2, 0.01]).assign(map="features", region=None)
    assert "None of them is shown" in claims.say_differences(later, 0.95)[0].text


def test_what_evidence_adds_is_said_without_explaining():
    rows = pd.DataFrame(
        {
            "confounds": ["brain_volume_ml", "age_years+site", "motion_mm"],
            "p": [0.01, 0.3, float("nan")],
            "verdict": ["adds", "not shown to add", None],
            "reason": [None, None, "too few people"],
        }
    )
    told = claims.say_added(rows, "sex")
    assert [finding.tone for finding in told] == ["good", "caution", "caution"]
    assert told[0].text.startswith("It adds to what brain size tells of sex")
    assert "not shown to add to what age and site together tell" in told[1].text
    assert told[2].text == "Whether it adds to head motion cannot be said: too few people."
    assert not any("explain" in finding.text for finding in told)


def test_many_models_are_corrected_for():
    assert claims.correct({"a": 0.03, "b": 0.04}) == {"a": False, "b": False}
    assert claims.correct({"a": 0.03, "b": 0.02}) == {"a": True, "b": True}
    assert claims.correct({}) == {}
