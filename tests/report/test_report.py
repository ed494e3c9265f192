"""The report says what its tables say, in one file that needs nothing else."""

from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from testing.fake_study import make_aged_study, make_empty, make_study, save_study

from bids_sexclf import figures, targets, words
from bids_sexclf.errors import InputError
from bids_sexclf.group import report
from bids_sexclf.report import gathering, methods, page
from bids_sexclf.settings import Run, Study

VOID = {"meta", "br", "link", "img", "input", "hr", "col"}
NOTHING = dict.fromkeys([name for name, _ in figures.ordered(targets.find("sex"))])


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


@pytest.fixture(scope="module")
def tables():
    return make_study(n=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tables):
    folder = tmp_path_factory.mktemp("study")
    write_report(tables, folder)
    return folder


@pytest.fixture(scope="module")
def shown(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_leakage_takes_over_the_headline(tables):
    scores = tables["scores"].copy()
    scores.loc[scores["model"] == "shuffled", "p"] = 0.001
    findings = gathering.gather(tables | {"scores": scores}, Study())
    assert findings["headline"].tone == "alarm"
    assert "Leakage" in page.make_page(tables | {"scores": scores}, Study(), NOTHING)


# Numbers


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0031, "0.003"), (0.0009, "< 0.001"), (0.0, "< 0.001"), (1.0, "1.000"), (np.nan, "n/a")],
)
def test_p_values_have_three_decimals(p, text):
    assert words.say_p(p) == text


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
    assert page.format_cell(value, column, {"Format": kind}) == text


def test_the_area_under_the_roc_table_is_the_auc_within_folds(tables):
    from sklearn.metrics import roc_auc_score

    roc = page.trace_curves(tables["predictions"], 0.95)["roc"]
    rows = tables["predictions"].query("model == 'brain_size'")
    weights, areas = [], []
    for _, fold in rows.groupby("fold"):
        weights.append(fold["target"].sum() * (1 - fold["target"]).sum())
        areas.append(roc_auc_score(fold["target"], fold["evidence"]))
    curve = roc.query("model == 'brain_size'")
    area = np.trapezoid(curve["tpr"], curve["fpr"])
    assert area == pytest.approx(np.average(areas, weights=weights), abs=1e-12)


def test_a_repeated_cross_validation_calibrates_each_participant_once(tables):
    again = pd.concat([tables["predictions"], tables["predictions"].assign(repeat=2)])
    calibration = page.trace_curves(again, 0.95)["calibration"]
    assert (calibration.groupby("model")["n"].sum() == 60).all()


def test_folds_table_counts_every_participant_in_every_fold(tables):
    counts = page.count_folds(tables)
    assert len(counts) == 5
    assert (counts.drop(columns=["repeat", "fold"]).sum(axis=1) == 60).all()
    assert counts[["test, female", "test, male"]].to_numpy().sum() == 60


# The page


def test_page_loads_nothing_from_elsewhere(shown):
    for tag, attributes in shown.tags:
        assert tag not in ("script", "link", "iframe")
        for key in ("src", "href", "xlink:href", "srcset"):
            assert attributes.get(key, "#").startswith(("#", "data:"))
        assert "url(http" not in attributes.get("style", "")


def test_page_is_accessible(shown):
    tags = dict(shown.tags)
    assert tags["html"]["lang"] == "en"
    drawings = [attributes for tag, attributes in shown.tags if tag == "svg"]
    assert len(drawings) == len(NOTHING)
    assert all(drawing["role"] == "img" and drawing["aria-label"] for drawing in drawings)
    headings = [int(tag[1]) for tag, _ in shown.tags if tag in ("h1", "h2", "h3")]
    assert headings[0] == 1 and headings.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in zip(headings, headings[1:], strict=False))
    ids = [attributes["id"] for _, attributes in shown.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))


def test_page_holds_findings_tables_settings_and_limits(shown, tables):
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
        assert text in shown.text
    for name in tables["regions"]["name"]:
        assert name in shown.text


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
    names = [name for name, _ in figures.ordered(targets.find("age"))]
    assert "ages" in names and not {"ages"} & set(NOTHING)
    drawn = dict.fromkeys(names) | {"ages": report.figures.draw_svg("ages", aged)}
    text = page.make_page(aged, Study(target="age", models=["ridge"]), drawn)
    surely = text.split("How surely age can be told</h2>")[1].split("<h2")[0]
    assert 'id="figure-ages"' in surely and "mean error" in surely


def test_a_study_with_empty_tables_is_reported(tmp_path):
    made = Page(write_report(make_empty(), tmp_path))
    assert "No model was fitted" in made.text and "nothing to show" in made.text
    assert not (tmp_path / "figures").exists()


def test_a_missing_table_is_refused_by_name(tmp_path, tables):
    save_study(tables, tmp_path)
    (tmp_path / "scores.tsv").unlink()
    with pytest.raises(InputError, match="scores.tsv"):
        report.run(SimpleNamespace(folder=tmp_path, study=Study(), run=Run()))


def test_text_from_tables_cannot_become_markup(tables):
    excluded = tables["excluded"].assign(reason="<script>alert(1)</script>")
    text = page.make_page(tables | {"excluded": excluded}, Study(), NOTHING)
    assert "<script" not in text and "&lt;script&gt;" in text


def test_a_long_table_is_cut_and_says_so(tables, monkeypatch):
    monkeypatch.setattr(page, "MOST_ROWS", 3)
    assert "The other 5 rows are in regions.tsv" in page.make_page(tables, Study(), NOTHING)


@pytest.mark.parametrize(
    ("values", "sentence"),
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
def test_methods_follow_the_settings(values, sentence):
    assert sentence in methods.write_methods(Study(**values))


def test_methods_without_attribution_say_nothing_of_hidden_regions():
    assert "is hidden" not in methods.write_methods(Study(attributions=[]))
    assert "is hidden" in methods.write_methods(Study())


def test_settings_that_differ_from_the_default_are_marked():
    changed = [row["name"] for row in methods.list_settings(Study(epochs=3)) if row["changed"]]
    assert changed == ["epochs"]


def test_a_figure_that_fails_costs_a_sentence_and_not_the_report(tmp_path, monkeypatch):
    from bids_sexclf.figures import regions

    def fail(tables):
        raise ValueError("no such glyph <b>")

    monkeypatch.setattr(regions, "draw", fail)
    save_study(make_study(n=40), tmp_path)
    report.run(SimpleNamespace(folder=tmp_path, study=Study(), run=Run()))
    text = " ".join((tmp_path / "report.html").read_text().split())
    assert "The figure “regions” could not be drawn (ValueError: no such glyph &lt;b&gt;)" in text
    assert not (tmp_path / "figures" / "regions.svg").exists()
    assert (tmp_path / "figures" / "roc.svg").exists()


def test_one_models_unknown_numbers_cost_its_sentences_and_not_the_report():
    tables = make_study(models=("cnn3", "sfcn"), n=40)
    for name in ("scores", "comparisons", "confounds", "regions"):
        odd = tables[name]["model"] == "cnn3"
        numbers = tables[name].select_dtypes("float").columns
        tables[name].loc[odd, numbers] = np.nan
    tables["predictions"].loc[tables["predictions"]["model"] == "cnn3", "evidence"] = np.nan
    tables |= page.trace_curves(tables["predictions"], 0.95)
    study = Study(models=["cnn3", "sfcn"])
    found = gathering.gather(tables, study)
    assert set(found["networks"]) == {"cnn3 on T1w", "sfcn on T1w"}
    assert any("better than chance" in finding.text for finding in found["networks"]["sfcn on T1w"])
    assert set(tables["roc"]["model"]) >= {"sfcn"}
    assert "sfcn on T1w" in page.make_page(tables, study, NOTHING)
