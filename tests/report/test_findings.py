"""The report's sentences say what its tables allow to say."""

import numpy as np
import pandas as pd
import pytest
from testing.fake_study import make_study, save_study

from bids_sexclf import targets, words
from bids_sexclf.group import base
from bids_sexclf.report import findings as say
from bids_sexclf.report import gathering
from bids_sexclf.settings import Run, Study
from bids_sexclf.tables import schema

SEX = targets.find("sex")


def plain(text):
    return text.replace(words.GLUE, " ")


@pytest.fixture(scope="module")
def tables():
    return make_study(n=60)


def make_comparison(verdict, baseline="brain_size"):
    return pd.Series(
        {
            "baseline": baseline,
            "difference": 0.0812,
            "ci_low": -0.0312,
            "ci_high": 0.1899,
            "p": 0.0312,
            "verdict": verdict,
        }
    )


def make_added(pairs, p):
    table = pd.DataFrame(pairs, columns=["model", "map"])
    return table.assign(confounds="brain_volume_ml", p=p)


def make_score(p=0.0004, estimate=0.874):
    numbers = {"estimate": estimate, "ci_low": 0.791, "ci_high": 0.926, "n": 131, "p": p}
    return pd.Series({"score": "auc"} | numbers)


@pytest.mark.parametrize(
    ("verdict", "tone", "start"),
    [
        ("above", "good", "It does better than brain size alone"),
        ("not above", "caution", "It is not shown to do better than brain size alone"),
        ("below", "caution", "It does worse than brain size alone"),
        ("chance", "plain", "At chance itself"),
        ("n/a", "caution", "Too few participants"),
        (np.nan, "caution", "Too few participants"),
    ],
)
def test_each_verdict_has_its_sentence(verdict, tone, start):
    finding = SEX.say_against(make_comparison(verdict), Study())
    assert finding.tone == tone and finding.text.startswith(start)


@pytest.mark.parametrize("verdict", ["above", "not above", "below"])
def test_a_comparison_is_said_with_its_difference_interval_and_p(verdict):
    text = plain(SEX.say_against(make_comparison(verdict), Study(interval_level=0.9)).text)
    assert "AUC difference 0.08, 90 % interval \u22120.03 to 0.19, p = 0.031" in text


@pytest.mark.parametrize(
    ("choices", "advice"),
    [
        ({}, 'A study with match = "brain_size" or residualize = ["brain_size"] tells more.'),
        ({"match": "brain_size"}, 'A study with residualize = ["brain_size"] tells more.'),
        ({"residualize": ["brain_size"]}, 'A study with match = "brain_size" tells more.'),
        ({"match": "brain_size", "residualize": ["age", "brain_size"]}, None),
    ],
)
def test_where_brain_size_may_explain_a_score_a_study_that_tells_more_is_named(
    tables, choices, advice
):
    study = Study(**choices)
    added = tables["added"].assign(p=0.4)
    finding = gathering.say_brain_size(tables["scores"], added, study)
    assert "no network is shown to add to it" in finding.text
    assert finding.text.endswith(advice) if advice else "A study with" not in finding.text
    assert gathering.say_brain_size(tables["scores"], added.assign(p=0.001), study) is None


def test_a_network_no_better_than_shuffled_labels_is_not_said_to_be_explained_by_them():
    text = SEX.say_against(make_comparison("not above", "shuffled"), Study()).text
    assert "explains" not in text and "do not rely on its score" in text


def test_an_unknown_baseline_is_called_by_its_name():
    assert (
        "the baseline weight" in SEX.say_against(make_comparison("above", "weight"), Study()).text
    )


@pytest.mark.parametrize(
    ("above", "tone", "start"),
    [
        (True, "good", "better than chance"),
        (False, "caution", "at chance"),
        (None, "caution", "Too"),
    ],
)
def test_discrimination_is_said_with_auc_interval_n_and_p(above, tone, start):
    finding = SEX.say_scores(make_score().to_frame("auc").T, above, 0.95)
    assert finding.tone == tone and start in finding.text
    assert "AUC 0.87 (95 % interval 0.79 to 0.93), n = 131, permutation p < 0.001" in plain(
        finding.text
    )


def test_a_network_that_was_never_tested_has_no_score():
    assert "no score" in SEX.say_scores(pd.DataFrame(), None, 0.95).text


@pytest.mark.parametrize(
    ("verdict", "p", "above"),
    [("above", 0.001, True), ("chance", 0.001, False), ("n/a", 0.2, False), ("n/a", np.nan, None)],
)
def test_chance_is_settled_by_the_verdict_and_else_by_the_permutation_p(verdict, p, above):
    compared = pd.DataFrame([make_comparison(verdict)])
    assert SEX.is_above(make_score(p), compared) is above


@pytest.mark.parametrize(
    ("p", "checks", "tone"),
    [
        (0.4, 1, "good"),
        (0.002, 1, "alarm"),
        (0.03, 1, "caution"),
        (0.03, 3, "good"),
        (0.004, 3, "caution"),
        (np.nan, 1, "caution"),
    ],
)
def test_shuffled_labels_above_chance_raise_the_alarm(p, checks, tone):
    finding = say.say_shuffled(make_score(p), "FA", 0.95, checks)
    assert finding.tone == tone
    assert ("Leakage is likely" in finding.text) == (tone == "alarm")


def test_a_study_of_age_raises_the_same_alarm_in_years():
    finding = say.say_shuffled(make_score(0.001).replace("auc", "mae"), "T1w", 0.95)
    assert finding.tone == "alarm" and "mean error in years 0.87" in finding.text


def test_a_study_without_shuffled_labels_says_that_leakage_was_not_checked():
    assert "not checked" in say.say_shuffled(None, "FA", 0.95).text


def make_regions(p_fwe):
    n = len(p_fwe)
    return pd.DataFrame(
        {
            "method": "region_occlusion",
            "fill": "donors",
            "atlas": "JHU",
            "name": [f"tract {number}" for number in range(n)],
            "hemisphere": "L",
            "mean": 0.04,
            "ci_low": 0.02,
            "ci_high": 0.06,
            "effect_size": np.linspace(0.1, 0.4, n),
            "p_fwe": p_fwe,
            "p_wilcoxon": np.array(p_fwe) / n,
        }
    )


def test_regions_that_survive_are_counted_and_the_strongest_is_named():
    rows = make_regions([0.003, 0.02, *[0.9] * 38])
    finding = gathering.say_regions(rows, 0.95, SEX)
    text = plain(finding.text)
    assert finding.tone == "good"
    assert "It leans on 2 of 40 regions of JHU" in text and "tract 0 (left)" in text
    assert (
        "by 0.040 (95 % interval 0.020 to 0.060; effect size 0.10, family-wise p = 0.003)" in text
    )
    assert "donors" in text


def test_the_published_rule_is_told_as_such_and_claims_nothing():
    rows = make_regions([0.9] * 40).assign(fill="white_matter_mean", p_fwe=np.nan)
    finding = gathering.say_regions(rows, 0.95, SEX)
    text = plain(finding.text)
    # 0.9 / 40 < 0.05: the rule names all forty, and 0.05 x 40 = 2 are expected.
    assert finding.tone == "plain" and text.startswith("Published rule")
    assert "names 40 of 40 regions of JHU, where 2.0 are expected by chance alone" in text
    assert "No claim rests on it" in text and "lean" not in text
    other = plain(gathering.say_regions(rows.assign(fill="blur"), 0.95, SEX).text)
    assert "No claim rests on region occlusion, filled with blur" in other


def test_the_strongest_region_is_that_of_the_largest_fall_among_those_that_survive():
    rows = make_regions([0.001, 0.02, 0.02, 0.9]).assign(mean=[0.001, 0.03, 0.03, 0.2])
    text = plain(gathering.say_regions(rows, 0.95, SEX).text)
    # Of two equals the first; what does not survive is not named, however large.
    assert "The strongest is tract 1 (left): hiding it lowers" in text and "by 0.030" in text
    none = plain(gathering.say_regions(rows.assign(p_fwe=[0.1, 0.2, 0.3, 0.9]), 0.95, SEX).text)
    assert "The nearest is tract 0 (left)" in none


def test_the_terminal_names_the_same_region_as_the_report(tmp_path, tables):
    means = np.linspace(0.01, 0.08, 8)
    order = [*schema("regions")]
    regions = tables["regions"].assign(mean=means, p_fwe=[0.001, *[0.01] * 6, 0.3])[order]
    save_study(tables | {"regions": regions}, tmp_path)
    desk = base.Desk(tmp_path, tmp_path, tmp_path, Run(), Study())
    name, fall = regions["name"][6], means[6]
    assert f"by {fall:.3f}" in gathering.say_regions(regions, 0.95, SEX).text
    lines = base.findings(desk)
    assert any(
        "leans on 7 of 8 regions" in line and f"top: {name} (drop {fall:.3f}" in line
        for line in lines
    )


def test_no_region_that_survives_is_said_as_such():
    finding = gathering.say_regions(make_regions([1.0] * 8), 0.95, SEX)
    assert finding.tone == "plain" and "not shown to lean on any of 8 regions" in finding.text
    # All p are equal, so the region of the largest effect is the nearest.
    assert "tract 7" in finding.text


def test_confounds_within_the_sexes_are_named_by_their_p():
    rows = pd.DataFrame(
        {
            "covariate": ["brain_volume_ml", "age_years", "snr"],
            "within": ["both", "both", "male"],
            "rho": [0.31, 0.02, 0.9],
            "p": [0.002, 0.7, 0.001],
        }
    )
    finding = say.say_confounds(rows, SEX.alike, SEX.alike_error)
    assert "brain volume (rho = 0.31, p = 0.002)" in plain(finding.text)
    assert finding.tone == "caution" and "age" not in finding.text.split(":")[0].split()
    assert (
        "not shown to go with age" in say.say_confounds(rows[1:], SEX.alike, SEX.alike_error).text
    )
    assert say.say_confounds(rows[2:], SEX.alike, SEX.alike_error) is None
    aged = say.say_confounds(rows, "people of one sex and like age", "error").text
    assert aged.startswith("Among people of one sex and like age, its error goes with brain volume")


@pytest.mark.parametrize(
    ("above", "p", "start"),
    [
        (True, 0.01, "better than chance, and adds to what brain size alone tells"),
        (True, 0.06, "but not shown to add to what brain size alone tells"),
        (True, np.nan, "whether that adds to brain size could not be tested"),
        (False, 0.01, "is not shown to tell female from male brains"),
        (None, 0.01, "is not shown to tell female from male brains"),
    ],
)
def test_the_headline_never_forgets_brain_size(above, p, start):
    pair = ("cnn3", "FA")
    assert (
        start in gathering.say_headline({pair: above}, {"added": make_added([pair], p)}, SEX).text
    )


def test_the_headline_counts_networks():
    pairs = [("cnn3", "FA"), ("cnn3", "MD"), ("cnn3", "MK")]
    above = dict(zip(pairs, [True, True, False], strict=True))
    # Of three that are judged, p = 0.03 does not stand after Holm's correction; p = 0.01 does.
    added = make_added(pairs, [0.01, 0.03, 0.9])
    text = gathering.say_headline(above, {"added": added}, SEX).text
    assert text.startswith("2 of 3 models tell") and "1 of them adds to what brain size" in text
    assert "could not be tested" in gathering.say_headline(above, {"added": added[:0]}, SEX).text


def test_missing_folds_are_counted(tables):
    pair = ("cnn3", "T1w")
    assert say.say_coverage(tables["splits"], tables["predictions"], pair) is None
    some = tables["predictions"].query("fold > 2")
    text = say.say_coverage(tables["splits"], some, pair).text
    assert text.startswith("24 of 60 planned tests are missing")


def test_participants_are_counted_once_however_many_sessions(tables):
    twice = pd.concat([tables["cohort"]] * 2)
    text = say.say_participants(twice, tables["excluded"]).text
    assert text.startswith("60 participants (30 female, 30 male)") and "2 left out" in text


def test_a_network_at_chance_is_not_given_findings(tables):
    null = make_study(n=60, separation=0)
    texts = [finding.text for finding in gathering.say_model(("cnn3", "T1w"), False, null, Study())]
    assert texts[0].startswith("It is at chance")
    assert texts[1].startswith("Since the network is at chance, its regions mean nothing")
    assert len(texts) == 2
