"""The report says what its tables say, in one file that needs nothing else."""

import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bids_sexclf.errors import InputError
from bids_sexclf.group import _findings as say
from bids_sexclf.group import _sex_findings as sex
from bids_sexclf.group import _words, base, methods, report
from bids_sexclf.settings import Run, Study
from bids_sexclf.tables import schema

sys.path.insert(0, str(Path(__file__).parents[1] / "figures"))
from fake_study import make_aged_study, make_empty, make_study, save_study

VOID = {"meta", "br", "link", "img", "input", "hr", "col"}


class Page(HTMLParser):
    """Collect tags and text, and fail on a tag that closes what is not open."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def write_report(tables, folder, study=None):
    save_study(tables, folder)
    desk = SimpleNamespace(folder=folder, study=study or Study(), run=Run())
    steps = []
    report.run(desk, lambda *step: steps.append(step))
    assert [step[0] for step in steps] == list(range(1, len(NOTHING) + 1))
    return (folder / "report.html").read_text(encoding="utf-8")


def plain(text):
    return text.replace(_words.GLUE, " ")


@pytest.fixture(scope="module")
def tables():
    return make_study(n=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tables):
    folder = tmp_path_factory.mktemp("study")
    write_report(tables, folder)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


# The sentences


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


def make_score(p=0.0004, estimate=0.874):
    numbers = {"estimate": estimate, "ci_low": 0.791, "ci_high": 0.926, "n": 131, "p": p}
    return pd.Series({"score": "auc"} | numbers)


@pytest.mark.parametrize(
    ("verdict", "tone", "words"),
    [
        ("above", "good", "It does better than brain size alone"),
        ("not above", "caution", "Brain size alone may explain this score"),
        ("below", "caution", "Brain size alone explains this score, and more"),
        ("chance", "plain", "At chance itself"),
        ("n/a", "caution", "Too few participants"),
        (np.nan, "caution", "Too few participants"),
    ],
)
def test_each_verdict_has_its_sentence(verdict, tone, words):
    finding = sex.say_against(make_comparison(verdict), Study())
    assert finding.tone == tone and finding.text.startswith(words)


@pytest.mark.parametrize("verdict", ["above", "not above", "below"])
def test_a_comparison_is_said_with_its_difference_interval_and_p(verdict):
    text = plain(sex.say_against(make_comparison(verdict), Study(interval_level=0.9)).text)
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
    compared = tables["comparisons"].assign(verdict="not above")
    held = [sex.say_against(make_comparison(verdict), study) for verdict in ("not above", "below")]
    for finding in (*held, sex.say_brain_size(tables["scores"], compared, study)):
        assert finding.text.endswith(advice) if advice else "A study with" not in finding.text
    for verdict, baseline in (("above", "brain_size"), ("not above", "age_only")):
        other = sex.say_against(make_comparison(verdict, baseline), study)
        assert "A study with" not in other.text


def test_a_network_no_better_than_shuffled_labels_is_not_said_to_be_explained_by_them():
    text = sex.say_against(make_comparison("not above", "shuffled"), Study()).text
    assert "explains" not in text and "do not rely on its score" in text


def test_an_unknown_baseline_is_called_by_its_name():
    assert (
        "the baseline weight" in sex.say_against(make_comparison("above", "weight"), Study()).text
    )


@pytest.mark.parametrize(
    ("above", "tone", "words"),
    [
        (True, "good", "better than chance"),
        (False, "caution", "at chance"),
        (None, "caution", "Too"),
    ],
)
def test_discrimination_is_said_with_auc_interval_n_and_p(above, tone, words):
    finding = sex.say_discrimination(make_score(), above, 0.95)
    assert finding.tone == tone and words in finding.text
    assert "AUC 0.87 (95 % interval 0.79 to 0.93), n = 131, permutation p < 0.001" in plain(
        finding.text
    )


def test_a_network_that_was_never_tested_has_no_score():
    assert "no score" in sex.say_discrimination(None, None, 0.95).text


@pytest.mark.parametrize(
    ("verdict", "p", "above"),
    [("above", 0.001, True), ("chance", 0.001, False), ("n/a", 0.2, False), ("n/a", np.nan, None)],
)
def test_chance_is_settled_by_the_verdict_and_else_by_the_permutation_p(verdict, p, above):
    compared = pd.DataFrame([make_comparison(verdict)])
    assert sex.beats_chance(make_score(p), compared) is above


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


def make_regions(p_holm):
    n = len(p_holm)
    return pd.DataFrame(
        {
            "method": "region_occlusion",
            "fill": "blur",
            "atlas": "JHU",
            "name": [f"tract {number}" for number in range(n)],
            "hemisphere": "L",
            "mean": 0.04,
            "ci_low": 0.02,
            "ci_high": 0.06,
            "effect_size": np.linspace(0.1, 0.4, n),
            "p": np.array(p_holm) / n,
            "p_holm": p_holm,
        }
    )


def test_regions_that_survive_are_counted_and_the_strongest_is_named():
    rows = make_regions([0.003, 0.02, *[0.9] * 38])
    finding = sex.say_regions(rows, 0.95)
    text = plain(finding.text)
    assert finding.tone == "good"
    assert "2 of 40 regions of JHU" in text and "tract 0 (left)" in text
    assert (
        "by 0.040 (95 % interval 0.020 to 0.060; effect size 0.10, Holm-corrected p = 0.003)"
        in text
    )
    # 0.9 / 40 < 0.05: all forty would pass uncorrected, and 0.05 x 40 = 2 are expected.
    assert "would have named 40, where 2.0 are expected by chance alone" in text


def test_the_strongest_region_is_that_of_the_largest_fall_among_those_that_survive():
    rows = make_regions([0.001, 0.02, 0.02, 0.9]).assign(mean=[0.001, 0.03, 0.03, 0.2])
    text = plain(sex.say_regions(rows, 0.95).text)
    # Of two equals the first; what does not survive is not named, however large.
    assert "The strongest is tract 1 (left): hiding it lowers" in text and "by 0.030" in text
    none = plain(sex.say_regions(rows.assign(p_holm=[0.1, 0.2, 0.3, 0.9]), 0.95).text)
    assert "The nearest is tract 0 (left)" in none


def test_the_terminal_names_the_same_region_as_the_report(tmp_path, tables):
    means = np.linspace(0.01, 0.08, 8)
    order = [*schema("regions")]
    regions = tables["regions"].assign(mean=means, p_holm=[0.001, *[0.01] * 6, 0.3])[order]
    save_study(tables | {"regions": regions}, tmp_path)
    desk = base.Desk(tmp_path, tmp_path, tmp_path, Run(), Study())
    name, fall = regions["name"][6], means[6]
    assert f"by {fall:.3f}" in sex.say_regions(regions, 0.95).text
    lines = base.findings(desk)
    assert any(
        "7 of 8 regions" in line and f"top: {name} (fall {fall:.3f}" in line for line in lines
    )


def test_no_region_that_survives_is_said_as_such():
    finding = sex.say_regions(make_regions([1.0] * 8), 0.95)
    assert finding.tone == "plain" and "no region is shown to matter" in finding.text
    # All p are equal, so the region of the largest effect is the nearest.
    assert "tract 7" in finding.text


def test_confounds_within_the_sexes_are_named_by_their_p():
    rows = pd.DataFrame(
        {
            "covariate": ["brain_volume_ml", "age_years", "snr"],
            "sex": ["both", "both", "male"],
            "rho": [0.31, 0.02, 0.9],
            "p": [0.002, 0.7, 0.001],
        }
    )
    finding = say.say_confounds(rows)
    assert "brain volume (rho = 0.31, p = 0.002)" in plain(finding.text)
    assert finding.tone == "caution" and "age" not in finding.text.split(":")[0].split()
    assert "not shown to go with age" in say.say_confounds(rows[1:]).text
    assert say.say_confounds(rows[2:]) is None
    aged = say.say_confounds(rows, "people of one sex and like age", "error").text
    assert aged.startswith("Among people of one sex and like age, its error goes with brain volume")


@pytest.mark.parametrize(
    ("above", "verdict", "words"),
    [
        (True, "above", "better than chance, and better than brain size alone"),
        (True, "not above", "but not shown to be better than brain size alone"),
        (False, "chance", "is not shown to tell female from male brains"),
        (None, "n/a", "is not shown to tell female from male brains"),
    ],
)
def test_the_headline_never_forgets_brain_size(above, verdict, words):
    compared = pd.DataFrame([make_comparison(verdict)]).assign(model="cnn3", map="FA", score="auc")
    pair = ("cnn3", "FA")
    assert words in sex.say_headline([pair], {pair: above}, compared).text


def test_the_headline_counts_networks():
    pairs = [("cnn3", "FA"), ("cnn3", "MD"), ("cnn3", "MK")]
    above = dict(zip(pairs, [True, True, False], strict=True))
    compared = pd.DataFrame([make_comparison("above"), make_comparison("not above")])
    compared = compared.assign(model="cnn3", map=["FA", "MD"], score="auc")
    text = sex.say_headline(pairs, above, compared).text
    assert text.startswith("2 of 3 models tell") and "1 of them better than brain size" in text
    assert "was not asked" in sex.say_headline(pairs, above, compared[:0]).text


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
    texts = [finding.text for finding in sex.say_network(("cnn3", "T1w"), null, Study())]
    assert texts[0].startswith("It is at chance")
    assert texts[1].startswith("Since the network is at chance, its regions mean nothing")
    assert len(texts) == 2


def test_leakage_takes_over_the_headline(tables):
    scores = tables["scores"].copy()
    scores.loc[scores["model"] == "shuffled", "p"] = 0.001
    findings = report.gather_findings(tables | {"scores": scores}, Study())
    assert findings["headline"].tone == "alarm"
    assert "Leakage" in report.make_page(tables | {"scores": scores}, Study(), NOTHING)


NOTHING = dict.fromkeys([name for name, _ in report.figures.ordered("sex")])


# Numbers


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0031, "0.003"), (0.0009, "< 0.001"), (0.0, "< 0.001"), (1.0, "1.000"), (np.nan, "n/a")],
)
def test_p_values_have_three_decimals(p, text):
    assert _words.say_p(p) == text


@pytest.mark.parametrize(
    ("value", "column", "kind", "text"),
    [
        (0.0002, "q_fdr", "number", "< 0.001"),
        (-0.25, "rho", "number", "\u22120.250"),
        (np.nan, "ci_low", "number", "n/a"),
        (np.nan, "session_id", "string", "n/a"),
        (None, "reason", "string", "n/a"),
        (7.0, "n", "integer", "7"),
        (0.0004, "mean", "number", "0.0004"),
        ("part", "part", "string", "part"),
    ],
)
def test_cells_are_written_for_readers(value, column, kind, text):
    assert report.format_cell(value, column, {"Format": kind}) == text


def test_the_area_under_the_roc_table_is_the_auc_within_folds(tables):
    from sklearn.metrics import roc_auc_score

    roc = report.trace_curves(tables["predictions"], 0.95)["roc"]
    rows = tables["predictions"].query("model == 'brain_size'")
    weights, areas = [], []
    for _, fold in rows.groupby("fold"):
        weights.append(fold["target"].sum() * (1 - fold["target"]).sum())
        areas.append(roc_auc_score(fold["target"], fold["logit"]))
    curve = roc.query("model == 'brain_size'")
    area = np.trapezoid(curve["tpr"], curve["fpr"])
    assert area == pytest.approx(np.average(areas, weights=weights), abs=1e-12)


def test_a_repeated_cross_validation_calibrates_each_participant_once(tables):
    again = pd.concat([tables["predictions"], tables["predictions"].assign(repeat=2)])
    calibration = report.trace_curves(again, 0.95)["calibration"]
    assert (calibration.groupby("model")["n"].sum() == 60).all()


def test_folds_table_counts_every_participant_in_every_fold(tables):
    counts = report.count_folds(tables)
    assert len(counts) == 5
    assert (counts.drop(columns=["repeat", "fold"]).sum(axis=1) == 60).all()
    assert counts[["test, female", "test, male"]].to_numpy().sum() == 60


# The page


def test_page_loads_nothing_from_elsewhere(page):
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe")
        for key in ("src", "href", "xlink:href", "srcset"):
            assert attributes.get(key, "#").startswith(("#", "data:"))
        assert "url(http" not in attributes.get("style", "")


def test_page_is_accessible(page):
    tags = dict(page.tags)
    assert tags["html"]["lang"] == "en"
    drawings = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(drawings) == len(NOTHING)
    assert all(drawing["role"] == "img" and drawing["aria-label"] for drawing in drawings)
    headings = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3")]
    assert headings[0] == 1 and headings.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in zip(headings, headings[1:], strict=False))
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))


def test_page_holds_findings_tables_settings_and_limits(page, tables):
    for text in (
        "What was found",
        "It tells the sexes apart better than chance",
        "brain size alone",
        "Found no T1w scan, needed one.",
        "What is not claimed",
        "Association, not cause",
        "learning_rate",
        "Holm",
    ):
        assert text in page.text
    for name in tables["regions"]["name"]:
        assert name in page.text


def test_figures_lie_beside_the_page_and_page_is_light(folder):
    drawn = {path.stem for path in (folder / "figures").glob("*.svg")}
    assert drawn == set(NOTHING)
    assert (folder / "report.html").stat().st_size < 2_000_000
    assert not list(folder.rglob(".part-*"))


def test_the_same_study_gives_the_same_page(folder, tables):
    before = (folder / "report.html").read_bytes()
    report.run(SimpleNamespace(folder=folder, study=Study(), run=Run()))
    assert (folder / "report.html").read_bytes() == before


def test_a_study_of_age_shows_told_against_true_age_where_it_says_how_surely(tables):
    aged = make_aged_study(n=60)
    names = [name for name, _ in report.figures.ordered("age")]
    assert "ages" in names and not {"ages"} & set(NOTHING)
    drawn = dict.fromkeys(names) | {"ages": report.figures.draw_svg("ages", aged)}
    page = report.make_page(aged, Study(target="age", models=["ridge"]), drawn)
    surely = page.split("How surely age can be told</h2>")[1].split("<h2")[0]
    assert 'id="figure-ages"' in surely and "mean error" in surely


def test_a_study_with_empty_tables_is_reported(tmp_path):
    page = Page(write_report(make_empty(), tmp_path))
    assert "No model was fitted" in page.text and "nothing to show" in page.text
    assert not (tmp_path / "figures").exists()


def test_a_missing_table_is_refused_by_name(tmp_path, tables):
    save_study(tables, tmp_path)
    (tmp_path / "scores.tsv").unlink()
    with pytest.raises(InputError, match="scores.tsv"):
        report.run(SimpleNamespace(folder=tmp_path, study=Study(), run=Run()))


def test_text_from_tables_cannot_become_markup(tables):
    excluded = tables["excluded"].assign(reason="<script>alert(1)</script>")
    text = report.make_page(tables | {"excluded": excluded}, Study(), NOTHING)
    assert "<script" not in text and "&lt;script&gt;" in text


def test_a_long_table_is_cut_and_says_so(tables, monkeypatch):
    monkeypatch.setattr(report, "MOST_ROWS", 3)
    assert "The other 5 rows are in regions.tsv" in report.make_page(tables, Study(), NOTHING)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "dealt into 5 folds, balanced over sex and 3 bands of age"),
        ({"repeats": 3, "age_bands": 1}, "5 folds, 3 times over, balanced over sex, with families"),
        ({"split": "fixed"}, "split once, with 20 % for testing"),
        ({"atlas": "JHU"}, "Regions of the atlas JHU"),
        ({"standardize": "none"}, "values were used as they are"),
        ({"interval_level": 0.9}, "Intervals of 90 %"),
        ({}, "What else the evidence goes with was asked within each sex and fold"),
        ({"target": "age"}, "the effect of age, with which errors lean, was taken out"),
    ],
)
def test_methods_follow_the_settings(values, words):
    assert words in methods.write_methods(Study(**values))


def test_methods_without_attribution_say_nothing_of_regions():
    assert "region" not in methods.write_methods(Study(attributions=[]))


def test_settings_that_differ_from_the_default_are_marked():
    changed = [row["name"] for row in methods.list_settings(Study(epochs=3)) if row["changed"]]
    assert changed == ["epochs"]
