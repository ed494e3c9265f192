"""Every figure of the catalogue draws what a study gives it, whatever that is."""

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from testing.fake_study import make_aged_study, make_brain, make_empty, make_study

from bids_sexclf import catalogue, figures
from bids_sexclf.words import label_region

NAMES = catalogue.names(figures.PACKAGE)
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def study():
    return make_study(n=60)


@pytest.fixture(scope="module")
def large_study():
    fills = ("white_matter_mean", "blur")
    return make_study(models=("cnn3", "resnet10"), maps=("FA", "MD"), n=60, fills=fills)


@pytest.fixture(scope="module")
def aged():
    return make_aged_study(n=60)


@pytest.fixture(scope="module")
def large_aged():
    return make_aged_study(models=("ridge", "knn"), maps=("FA", "MD"), n=60)


def choose(name, sexed, aged):
    """Choose the study that a figure shows something of."""
    return (
        aged if getattr(catalogue.find(figures.PACKAGE, name), "KIND", "") == "quantity" else sexed
    )


def read_texts(svg):
    return [
        "".join(node.itertext()).strip() for node in ElementTree.fromstring(svg).iter(f"{SVG}text")
    ]


def draw_texts(name, tables):
    return read_texts(figures.draw_svg(name, tables))


@pytest.mark.parametrize("name", NAMES)
def test_figure_declares_its_contract(name):
    entry = catalogue.find(figures.PACKAGE, name)
    known = set(make_empty())
    assert isinstance(entry.SECTION, str) and entry.SECTION
    assert isinstance(entry.ORDER, int)
    assert isinstance(entry.READS, tuple) and set(entry.READS) <= known
    assert "Bad would be" in entry.CAPTION or "no region is shown to matter" in entry.CAPTION
    assert callable(entry.draw)


@pytest.mark.parametrize("name", NAMES)
def test_figure_reads_only_the_tables_it_declares(name, study, aged):
    reads = catalogue.find(figures.PACKAGE, name).READS
    tables = choose(name, study, aged)
    assert figures.draw_svg(name, {key: tables[key] for key in reads}) is not None


@pytest.mark.parametrize("name", NAMES)
def test_figure_draws_several_models_and_maps(name, large_study, large_aged):
    svg = figures.draw_svg(name, choose(name, large_study, large_aged))
    ElementTree.fromstring(svg)
    assert len(svg) < 1_500_000


@pytest.mark.parametrize("name", NAMES)
def test_figure_gives_none_where_there_is_nothing_to_show(name):
    assert figures.draw_svg(name, make_empty()) is None


@pytest.mark.parametrize("name", NAMES)
def test_figure_changes_none_of_its_tables(name, study, aged):
    tables = choose(name, study, aged)
    before = {key: frame.copy() for key, frame in tables.items() if hasattr(frame, "equals")}
    figures.draw_svg(name, tables)
    assert all(tables[key].equals(frame) for key, frame in before.items())


@pytest.mark.parametrize("name", ["cohort", "regions_brain"])
def test_same_tables_give_the_same_bytes(name, study):
    assert figures.draw_svg(name, study) == figures.draw_svg(name, study)


def test_figures_come_in_the_order_they_declare():
    orders = [entry.ORDER for _, entry in figures.ordered()]
    assert orders == sorted(orders) and len(set(orders)) == len(NAMES)


def test_text_stays_text_and_images_are_embedded(study):
    svg = figures.draw_svg("regions_brain", study)
    assert "z = " in " ".join(read_texts(svg))
    assert 'href="data:image/png;base64' in svg.replace("\n", "")


def test_ids_of_two_inlined_figures_never_clash(study):
    svg = figures.draw_svg("scores", study)
    pages = [figures.inline_svg(svg, name, "a <label>") for name in ("one", "two")]
    ids = [
        {node.get("id") for node in ElementTree.fromstring(page).iter() if node.get("id")}
        for page in pages
    ]
    assert ids[0] and not ids[0] & ids[1]
    assert ElementTree.fromstring(pages[0]).get("aria-label") == "a <label>"


def test_inlined_references_still_find_their_target(study):
    page = figures.inline_svg(figures.draw_svg("brain_size", study), "one", "label")
    root = ElementTree.fromstring(page)
    ids = {node.get("id") for node in root.iter()}
    for node in root.iter():
        for key, value in node.attrib.items():
            if key.endswith("href") and value.startswith("#"):
                assert value[1:] in ids
            if value.startswith("url(#"):
                assert value[5:-1] in ids


def test_cohort_without_brain_volumes_still_shows_ages(study):
    cohort = study["cohort"].assign(brain_volume_ml=np.nan)
    texts = draw_texts("cohort", {"cohort": cohort})
    assert "Age" in texts and "Brain volume" not in texts


def test_cohort_of_one_age_draws(study):
    texts = draw_texts("cohort", {"cohort": study["cohort"].assign(age_years=25.0)})
    assert "female (30)" in texts and "male (30)" in texts


@pytest.mark.parametrize("name", ["brain_size", "ages"])
def test_a_participant_is_one_point_however_often_tested(name, study, aged):
    tables = choose(name, study, aged)
    again = tables["predictions"].assign(repeat=2, evidence=tables["predictions"]["evidence"] + 4)
    both = pd.concat([tables["predictions"], again])
    drawn = [
        catalogue.find(figures.PACKAGE, name).draw(tables | {"predictions": rows})
        for rows in (tables["predictions"], both)
    ]
    once, twice = (
        np.concatenate([cloud.get_offsets() for cloud in figure.axes[0].collections])
        for figure in drawn
    )
    assert len(twice) == len(tables["cohort"])
    np.testing.assert_allclose(twice, once + [0, 2])


def test_ages_stand_over_their_own_with_the_line_of_no_error_and_the_fitted_one(aged):
    from bids_sexclf.figures import ages

    (ax,) = ages.draw(aged).axes
    rows = aged["predictions"].query("model == 'ridge'").assign(sex=aged["cohort"]["sex"])
    for cloud, sex in zip(ax.collections, ("female", "male"), strict=True):
        own = rows[rows["sex"] == sex]
        np.testing.assert_allclose(cloud.get_offsets(), own[["target", "evidence"]])
    none, fitted = ax.lines
    assert none.get_slope() == 1 and none.get_xy1()[0] == none.get_xy1()[1]
    slope = np.ptp(fitted.get_ydata()) / np.ptp(fitted.get_xdata())
    assert slope == pytest.approx(np.polyfit(rows["target"], rows["evidence"], 1)[0])
    error = np.mean(np.abs(rows["evidence"] - rows["target"]))
    assert ax.get_legend().get_title().get_text() == f"mean error {error:.1f} years"


def test_ages_of_one_participant_or_one_age_draw(aged):
    same = aged["predictions"].assign(target=30.0, evidence=30.0)
    one = aged["predictions"].query("participant_id == 'sub-001'")
    for rows in (same, one):
        assert figures.draw_svg("ages", aged | {"predictions": rows}) is not None


def test_baselines_of_age_have_no_panel(large_aged):
    texts = draw_texts("ages", large_aged)
    assert {"ridge, FA", "ridge, MD", "knn, FA", "knn, MD"} <= set(texts)
    assert not any("median_age" in text for text in texts)


def test_roc_shows_networks_of_a_map_beside_its_own_baselines(large_study):
    texts = draw_texts("roc", large_study)
    for name in ("cnn3", "resnet10", "brain_size", "shuffled"):
        assert sum(text.startswith(f"{name}, AUC") for text in texts) == 2


def test_history_marks_the_epoch_of_least_validation_loss(study):
    from bids_sexclf.figures import history

    run = study["history"].query("fold == 1").reset_index(drop=True)
    best = run["epoch"][run["validation_loss"].to_numpy().argmin()]
    figure = history.draw({"history": run})
    marked = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in marked] == [best]


def test_history_without_validation_loss_marks_nothing(study):
    from bids_sexclf.figures import history

    run = study["history"].assign(validation_loss=np.nan)
    figure = history.draw({"history": run})
    assert not [line for line in figure.axes[0].lines if line.get_marker() == "o"]


def test_only_regions_that_the_network_leans_on_are_filled(study):
    from bids_sexclf.figures import regions

    rows = study["regions"].assign(p=0.01, p_fwe=0.2)
    rows.loc[2, "p_fwe"] = 0.01
    figure = regions.draw(study | {"regions": rows})
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    filled = [dot.get_xdata()[0] for dot in dots if dot.get_markerfacecolor() != "white"]
    assert len(dots) == 8 and filled == [rows["mean"][2]]


def test_nothing_significant_leaves_no_outline(study):
    sure = figures.draw_svg(
        "regions_brain", study | {"regions": study["regions"].assign(p_fwe=0.01)}
    )
    none = figures.draw_svg(
        "regions_brain", study | {"regions": study["regions"].assign(p_fwe=1.0)}
    )
    assert "QuadContourSet" in sure and "QuadContourSet" not in none


def test_drops_of_zero_draw_a_plain_brain(study):
    flat = study["regions"].assign(mean=0.0, p_fwe=1.0)
    assert figures.draw_svg("regions_brain", study | {"regions": flat}) is not None


def test_left_of_the_brain_is_on_the_left_whatever_the_orientation_of_the_grid(study):
    from bids_sexclf.figures import regions_brain

    template, (atlas, affine) = make_brain()
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = atlas.shape[0] - 1
    rows = study["regions"].assign(mean=0.0, p_fwe=1.0)
    rows.loc[rows["hemisphere"] == "L", "mean"] = 0.2
    turned = {"template": (template[0][::-1], affine @ flip), "atlas": (atlas[::-1], affine @ flip)}
    for images in ({"template": template, "atlas": (atlas, affine)}, turned):
        figure = regions_brain.draw({"regions": rows} | images)
        axial = next(ax for ax in figure.subfigs[0].axes if ax.get_title().startswith("z"))
        pixels = np.asarray(axial.images[0].get_array(), int)
        redness = pixels[..., 0] - pixels[..., 2]
        half = redness.shape[1] // 2
        assert redness[:, : half - 4].sum() > 1000 > abs(redness[:, half + 5 :].sum())


@pytest.mark.parametrize(
    ("name", "hemisphere", "label"),
    [
        ("Fornix", "B", "Fornix"),
        ("Cingulum", "R", "Cingulum (right)"),
        ("Cingulum R", "R", "Cingulum R"),
        ("Right putamen", "R", "Right putamen"),
        ("A8m_L", "L", "A8m_L"),
    ],
)
def test_a_region_is_named_with_its_side_once(name, hemisphere, label):
    assert label_region(name, hemisphere) == label


@pytest.mark.parametrize("name", ["regions", "regions_brain"])
def test_what_does_not_fit_is_counted_not_dropped(name, study, monkeypatch):
    entry = catalogue.find(figures.PACKAGE, name)
    limit = "MOST_PANELS" if name == "regions" else "MOST_MOSAICS"
    monkeypatch.setattr(entry, limit, 1)
    three = pd.concat([study["regions"].assign(map=which) for which in ("FA", "MD", "MK")])
    assert "2 more in the table" in draw_texts(name, study | {"regions": three})


def test_the_flow_counts_everybody_once_and_names_the_reasons():
    from testing.fake_study import make_excluded

    cohort = make_study(n=60)["cohort"]
    more = [
        ("sub-903", np.nan, "quality", "registration_agreement 0.28, needed at least 0.5"),
        ("sub-903", np.nan, "cohort", "no FA map, needed FA"),
        ("sub-904", np.nan, "quality", "registration_agreement 0.31, needed at least 0.5"),
    ]
    excluded = pd.concat([make_excluded(), pd.DataFrame(more, columns=make_excluded().columns)])
    texts = "\n".join(draw_texts("flow", {"cohort": cohort, "excluded": excluded}))
    assert f"{len(cohort) + 4} participant-sessions known" in texts
    assert f"{len(cohort)} studied" in texts and "2: registration_agreement …" in texts
    assert "sub-903, sub-904" in texts and "no FA map" not in texts
    alone = "\n".join(draw_texts("flow", {"cohort": cohort, "excluded": excluded.iloc[:0]}))
    assert "nobody left out" in alone


ODD = [
    "$\\alpha_{1$",
    "50 % $ of _{ ^",
    "<script>alert(1)</script>",
    "a\x00b\x0bc\nd",
    "x" * 3_000_000,
    "\u202e\ufffe",
    "",
    "x" * 3_000_001,
]


def make_odd(tables):
    """Give every text of the tables that no data dictionary limits an odd one."""
    odd = dict(tables)
    for name, table in tables.items():
        if not hasattr(table, "columns"):
            continue
        table = table.copy()
        for column in {"name", "site", "model", "map", "atlas", "reason"} & set(table.columns):
            known = [value for value in table[column].unique() if isinstance(value, str)]
            known = [value for value in known if value not in ("shuffled", "brain_size", "table")]
            new = dict(zip(known, ODD * len(known), strict=False))
            table[column] = table[column].map(lambda value, new=new: new.get(value, value))
        odd[name] = table
    return odd


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_are_drawn_as_they_are_or_cut(name, study, aged):
    svg = figures.draw_svg(name, make_odd(choose(name, study, aged)))
    texts = read_texts(svg)
    assert len(svg) < 2_000_000 and max(map(len, texts)) < 500
    if name == "regions":
        assert any("$\\alpha_{1$" in text for text in texts)


def test_cut_texts_that_differ_stay_different():
    from bids_sexclf.figures._text import clean_table

    shown = clean_table(pd.DataFrame({"name": ODD, "p": 0.1}))["name"]
    assert shown.nunique() == len(ODD) and shown.str.len().max() < 90
