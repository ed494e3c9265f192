"""Whether maps may be trusted: sanity, agreement, what was looked at, and known sources."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from bids_sexclf import attribution
from bids_sexclf.group import audit, base
from bids_sexclf.group._asking import Tested
from bids_sexclf.group._jobs import make_job
from bids_sexclf.group._sources import choose_regions, make_source
from bids_sexclf.settings import Run
from bids_sexclf.stats.similarity import draw_regions

PLANTED = 8
METHOD = '''
"""The volume itself, whatever the model: a map that explains nothing."""
from bids_sexclf.attribution import Answer, evaluate

NEEDS, YIELDS, SCOPE, UNIT = {"evidence"}, "voxels", "participant", "none"
EXACT_ON_LINEAR = EXACT_ZERO = False


def attribute(rows, view):
    """Give the volume."""
    import numpy as np

    for row in range(len(rows)):
        volume = np.asarray(rows[row])
        whole = float(evaluate(view.evidence, volume[None])[0])
        yield Answer(whole, volume[None], np.array([], int))
'''
EARLIER = ("cohort", "splits", "fit", "evaluate", "attribute", "regions", "differences")
LATER = ("agreement", "sanity", "audit", "report")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Add a method that shows the volume."""
    folder = tmp_path_factory.mktemp("added")
    (folder / "picture.py").write_text(METHOD)
    before = list(attribution.__path__)
    attribution.__path__ = [*before, str(folder)]
    yield
    attribution.__path__ = before
    sys.modules.pop("bids_sexclf.attribution.picture", None)


@pytest.fixture(scope="module")
def checked(write_derivatives, run_study, tmp_path_factory, pictures):
    """Run a study whose planted region a network learns, and check its maps."""
    root = write_derivatives(tmp_path_factory.mktemp("checked"), n=32, effect=8.0)
    return run_study(
        root,
        (*EARLIER, *LATER),
        models=["cnn3"],
        variants={"svm": {"design": "svm_rbf", "C": 10.0, "gamma": 1.0}},
        baselines=["shuffled"],
        n_folds=2,
        epochs=8,
        voxel_size=7.0,
        attributions=["region_occlusion", "smoothgrad", "picture"],
        fills=["white_matter_mean"],
        attribution_options={"smoothgrad": {"copies": 3}},
        sanity_participants=2,
        bootstraps=100,
        permutations=100,
    )


def test_a_map_that_is_the_picture_fails_and_one_that_follows_the_network_passes(checked):
    table = checked.read("sanity").set_index(["method", "check"])
    for check in ("untrained", "labels"):
        row = table.loc["picture"].loc[check]
        assert row["rho"] == pytest.approx(1) and row["verdict"] == "fails", check
    steps = table.loc["smoothgrad"].query("check in ('weights', 'untrained')")
    assert steps["step"].tolist() == [1, 3, 5, 7] and (steps["n_layers"] == 7).all()
    assert steps["verdict"].notna().tolist() == [False, False, False, True]
    last = steps.iloc[-1]
    assert last["verdict"] == "passes" and abs(last["rho"]) < 0.3
    assert last["n_units"] == 24 or last["n_units"] > 1000
    assert (table["n_participants"] == 2).all()


def test_a_failed_method_is_marked_in_the_words_of_the_report(checked):
    page = " ".join((checked.folder / "report.html").read_text().split())
    assert "Maps by picture do not explain this model" in page
    assert "Maps by smoothgrad depend on what the model has learnt" in page


def test_size_stands_beside_that_of_regions_drawn_at_random(checked):
    table = checked.read("sanity").query("method == 'picture'").set_index("check")
    sizes = table.loc[["size", "random_regions"]]
    assert sizes["verdict"].isna().all() and (sizes["n_units"] == 24).all()
    tested = Tested.read(make_job(checked, "cnn3", "T1w", 1, 1))
    labels, mask = audit._read_grid(checked.folder)
    for check, regions in (("size", labels), ("random_regions", draw_regions(labels, 20240))):
        rho = [
            spearmanr(
                [np.abs((tested.volumes[row] * mask)[regions == r].sum()) for r in range(1, 25)],
                np.bincount(regions.ravel())[1:],
            ).statistic
            for row in tested.choose(2)
        ]
        assert sizes.loc[check, "rho_magnitude"] == pytest.approx(np.mean(rho), abs=1e-3)


def test_maps_are_held_against_each_other(checked):
    table = checked.read("agreement")
    counts = table.groupby(["compared", "level"]).size().to_dict()
    assert counts["folds", "region"] == 3 and counts["folds", "voxel"] == 2
    assert counts["methods", "region"] == 3 and counts["methods", "voxel"] == 1
    assert counts["size", "region"] == 3
    numbers = table[table["dice"].notna()]
    assert numbers[["dice", "jaccard", "agreement_kan2020"]].stack().between(0, 1).all()
    np.testing.assert_allclose(numbers["jaccard"], numbers["dice"] / (2 - numbers["dice"]))
    voxels = numbers.query("level == 'voxel'")
    assert (voxels["agreement_kan2020"] > 0.95).all()  # whatever the maps
    picture = table.query("method == 'picture' and compared == 'folds'")
    assert (picture["rho"] > 0.9).all()


def test_every_set_of_choices_is_noted_once(checked):
    looks = checked.read("looked_at")
    assert sorted(looks["stage"]) == ["audit", "differences", "evaluate", "regions"]
    assert looks["look"].tolist() == [1, 2, 3, 4] and (looks["n_participants"] == 32).all()
    assert looks["choices"].str.contains("epochs = 8").all()
    again = replace(checked, run=Run(nprocs=1, first="evaluate"))
    base.run_stage(again, "evaluate")
    assert len(checked.read("looked_at")) == 4
    study = checked.study.model_copy(update={"random_seed": 3})
    base.run_stage(
        replace(checked, run=Run(nprocs=1, first="differences"), study=study), "differences"
    )
    looks = checked.read("looked_at")
    assert len(looks) == 5 and looks["random_seed"].iloc[-1] == 3


@pytest.mark.parametrize("model", ["svm", "cnn3"])
def test_a_known_source_is_found_by_hiding_it_and_not_by_a_picture(checked, model):
    job = make_job(checked, model, "T1w", 1, 1)
    rows = audit.audit_job((job, PLANTED), lambda message: None) if model == "cnn3" else []
    if model == "svm":
        # Where mean white matter is put in, the region comes third only: this fill looks like none.
        choices = {"attributions": ["region_occlusion", "picture"], "fills": ["donors"]}
        study = checked.study.model_copy(update=choices)
        rows = audit.audit_job((replace(job, study=study), PLANTED), lambda message: None)
    told = {row["method"]: row for row in rows}
    hidden, picture = told["region_occlusion"], told["picture"]
    assert hidden["auc"] > 0.9 and hidden["n_regions"] == 24
    assert hidden["verdict"] == "found" and hidden["lift"] > 3
    assert picture["verdict"] == "missed" and picture["lift"] < 2


def test_what_is_not_learnt_gets_no_verdict(checked):
    study = checked.study.model_copy(update={"attributions": ["picture"]})
    job = replace(make_job(checked, "svm", "T1w", 1, 1), study=study)
    grid = audit._read_grid(checked.folder)
    rows = audit.audit_job((job, 1), lambda message: None)
    if rows[0]["p_auc"] > 0.05:
        assert rows[0]["reason"] == audit.NOT_LEARNT and "verdict" not in rows[0]
    source = make_source(job, 1, *grid, checked.read("cohort"), checked.read("splits"))
    train = source.target[source.parts["train"]]
    assert train.mean() == pytest.approx(0.5, abs=0.1) and source.fault is None


def test_sources_are_of_every_size_and_large_enough():
    labels = np.zeros((12, 12, 12), int)
    for region, size in enumerate((1, 2, 3, 4, 5, 6), start=1):
        labels[2 * region - 2, :size, :size] = region
    mask = np.ones(labels.shape, bool)
    chosen = choose_regions(labels, mask, 2, seed=0)
    assert len(chosen) == 2 and chosen[0] in (3, 4) and chosen[1] in (5, 6)
    assert choose_regions(labels, mask, 9, seed=0) == [3, 4, 5, 6]
    assert choose_regions(labels, np.zeros_like(mask), 2, seed=0) == []
