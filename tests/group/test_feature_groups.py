"""Models of tables: the planted region is named, by its features exchanged between people."""

import pytest

from bids_sexclf.errors import InputError
from bids_sexclf.group.questions import check_choices
from bids_sexclf.settings import Study


def test_the_planted_region_comes_first_and_no_other_is_named(
    write_derivatives, run_study, tmp_path
):
    desk = run_study(
        write_derivatives(tmp_path, effect=8.0),
        models=["logistic"],
        baselines=[],
        features="region_means",
        n_folds=2,
        attributions=["permutation_importance", "region_occlusion"],
        attribution_options={"donors": {"per_sex": 1}},
    )
    asked = desk.read("attributions")
    assert set(asked["unit"]) == {"features"} and set(asked["fill"]) == {"donors"}
    table = desk.read("feature_groups")
    assert len(table) == 24 and table["group"].is_unique
    # With 13 people to learn from a p that is corrected over 24 regions would need luck.
    assert table.iloc[0]["group"] == "Lobes Left middle superior white matter"
    assert table.iloc[0]["p"] <= 0.05 and (table["p_fwe"][1:] > 0.05).all()
    assert desk.read("regions").empty


def test_features_are_asked_of_models_of_tables_alone():
    asked = {"attributions": ["permutation_importance"]}
    check_choices(Study(models=["cnn3", "logistic"], **asked))
    with pytest.raises(InputError, match="needs a model of a table of features"):
        check_choices(Study(models=["cnn3"], **asked))
    options = {"attribution_options": {"donors": {"per_sex": 3}}, "fills": ["zero"]}
    check_choices(Study(models=["logistic"], **asked, **options))
