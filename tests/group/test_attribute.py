"""What the attribute and regions stages write: fills that decide, donors, reasons, file names."""

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bids_sexclf import attribution, fills, targets
from bids_sexclf.cohort.arrays import array_path
from bids_sexclf.errors import InputError
from bids_sexclf.group import attribute, base, questions, regions
from bids_sexclf.settings import Study
from bids_sexclf.volumes import load, open_cohort

METHOD = '''
"""Voxels of a volume times its evidence: quick, and of no meaning."""
from bids_sexclf.attribution import Answer, evaluate

NEEDS, YIELDS, SCOPE, UNIT = {"evidence"}, "voxels", "participant", "none"
EXACT_ON_LINEAR = EXACT_ZERO = False


def attribute(rows, view, scale=1.0):
    """Multiply."""
    import numpy as np

    for row in range(len(rows)):
        volume = np.asarray(rows[row])
        whole = float(evaluate(view.evidence, volume[None])[0])
        yield Answer(whole, scale * whole * volume[None], np.array([], int))
'''
FILL = '''
"""Fill with the volume turned upside down."""
from bids_sexclf.fills import Replacement

CLAIMS, SAYS = False, "the volume upside down"


def prepare(tested):
    """Prepare the fill."""
    return lambda volume, row: [Replacement(volume[..., ::-1])]
'''
FILLS = ["donors", "white_matter_mean", "turned"]


@pytest.fixture(scope="module")
def asked(write_derivatives, run_study, tmp_path_factory):
    """Run a study with a method and a fill that are one file each in a temporary folder."""
    added = tmp_path_factory.mktemp("added")
    paths = {package: list(package.__path__) for package in (attribution, fills)}
    for package, name, text in ((attribution, "times", METHOD), (fills, "turned", FILL)):
        folder = added / package.__name__.rpartition(".")[2]
        folder.mkdir()
        (folder / f"{name}.py").write_text(text)
        package.__path__ = [*package.__path__, str(folder)]
    families = [f"f{index // 4 * 2 + index % 2}" for index in range(32)]
    root = write_derivatives(tmp_path_factory.mktemp("asked"), effect=8.0, families=families)
    yield run_study(
        root,
        models=["svm_rbf"],
        variants={"svm_rbf": {"design": "svm_rbf", "C": 10.0, "gamma": 1.0}},
        baselines=[],
        n_folds=2,
        attributions=["region_occlusion", "times"],
        fills=FILLS,
        attribution_options={"donors": {"per_sex": 1}, "times": {"scale": 2.0}},
    )
    for package, before in paths.items():
        package.__path__ = before
    for name in ("attribution.times", "fills.turned"):
        sys.modules.pop(f"bids_sexclf.{name}", None)


def test_every_fill_really_puts_in_something_else(asked):
    table = asked.read("attributions").query("method == 'region_occlusion'")
    assert table["fill"].unique().tolist() == FILLS
    keys = ["participant_id", "index"]
    values = {
        name: rows.groupby(keys)["value"].mean() for name, rows in table.groupby("fill", sort=False)
    }
    for one in FILLS:
        for other in FILLS:
            assert one == other or np.abs(values[one] - values[other]).max() > 0.01


def test_donors_are_unrelated_people_of_the_same_fold_and_of_both_sexes(asked):
    table = asked.read("attributions").query("fill == 'donors'")
    cohort = asked.read("cohort").set_index("participant_id")
    tested = asked.read("splits").query("part == 'test'").set_index("participant_id")["fold"]
    own, source = table["participant_id"], table["source"]
    assert (tested.loc[own].to_numpy() == tested.loc[source].to_numpy()).all()
    family = cohort["family_id"]
    assert (family.loc[own].to_numpy() != family.loc[source].to_numpy()).all()
    sexes = table.assign(sex=cohort["sex"].loc[source].to_numpy())
    counts = sexes.groupby(["participant_id", "index"])["sex"].agg(["nunique", "size"])
    assert (counts == 2).all(axis=None) and (table["weight"] == 0.5).all()


def test_only_donors_carry_a_claim_and_the_planted_region_is_named(asked):
    table = asked.read("regions")
    by_fill = table.groupby("fill", sort=False, dropna=False)
    assert {name for name, rows in by_fill if rows["p_fwe"].notna().any()} == {"donors"}
    assert table["p_wilcoxon"].notna().all()
    claim = table.query("fill == 'donors'").set_index("region")
    assert claim.index[claim["p_fwe"] <= 0.05].tolist() == [8]
    assert any("leans on 1 of 24" in line for line in base.findings(asked))
    page = " ".join((asked.folder / "report.html").read_text().split())
    assert "It leans on 1 of 24 regions of Lobes" in page and "Published rule" in page


def test_method_fill_and_atlas_are_in_every_name_that_they_decide(asked):
    names = {path.name for path in asked.folder.glob("models/*/*/attributions_*.tsv")}
    labels = {f"method-region_occlusion_fill-{fill}_atlas-Lobes" for fill in FILLS}
    labels |= {"method-times_atlas-Lobes"}
    assert names == {f"attributions_{label}.tsv" for label in labels}
    maps = {path.name for path in (asked.folder / "maps").glob("*_stat-mean*.nii.gz")}
    drawn = {f"{label}_stat-meandrop" for label in labels if "occlusion" in label}
    drawn |= {f"method-times_atlas-Lobes_sex-{sex}_stat-mean" for sex in ("female", "male", "all")}
    assert maps == {f"model-svm_rbf_map-T1w_{name}.nii.gz" for name in drawn}


def test_maps_of_voxels_are_averages_of_the_tested(asked):
    rows = asked.read("predictions").query("part == 'test'").set_index("participant_id")
    ids = asked.read("cohort")["participant_id"].tolist()
    volumes = open_cohort(array_path(asked.folder, "T1w"))
    expected = {
        sex: np.mean(
            [2 * one.evidence * volumes[ids.index(name)] for name, one in part.iterrows()], axis=0
        )
        for sex, part in rows.groupby("target")
    }
    name = "maps/model-svm_rbf_map-T1w_method-times_atlas-Lobes_sex-{}_stat-mean.nii.gz"
    maps = {sex: load(asked.folder / name.format(sex))[0] for sex in ("female", "male", "all")}
    for sex, target in (("female", 0), ("male", 1)):
        np.testing.assert_allclose(maps[sex], expected[target], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(maps["all"], (maps["female"] + maps["male"]) / 2, atol=1e-3)


def test_choices_that_do_not_exist_are_refused_before_anything_runs():
    for choices, words in (
        ({"fills": ["donor"]}, "needed one of the fills that exist"),
        ({"fills": []}, "Found no fill for region_occlusion"),
        ({"attribution_options": {"blur": {}}}, "needed one of region_occlusion, donors"),
        ({"attribution_options": {"donors": {"n": 3}}}, "needed some of per_sex"),
    ):
        with pytest.raises(InputError, match=words):
            questions.check_choices(Study(**choices))


def make_rows(values, target, reason=None):
    """Make attributions of two regions; values has shape (participants, 2)."""
    names = [f"s{index}" for index in range(len(values))]
    frame = pd.DataFrame(
        {
            "participant_id": np.repeat(names, 2),
            "session_id": None,
            "repeat": 1,
            "fold": 1,
            "target": np.repeat(target, 2),
            "index": np.tile([1, 2], len(values)),
            "weight": 1.0,
            "evidence": 0.0,
            "value": np.ravel(values),
            "reason": reason,
        }
    )
    people = pd.DataFrame({"family": names, "kind": target}, index=names)
    return frame, people


LABELS = pd.DataFrame(
    {"name": ["one", "two"], "hemisphere": "L", "n_voxels": 5}, index=pd.Index([1, 2], name="index")
)
KEY = dict(zip(regions.KEYS, ["m", "T1w", "region_occlusion", "donors", "Lobes"], strict=True))


def judge(values, target, monkeypatch, **more):
    rows, people = make_rows(values, target, **more)
    monkeypatch.setattr(regions, "variance_factor", lambda splits, known: 1.0)
    monkeypatch.setattr(regions, "paint", lambda *about: None)
    desk = SimpleNamespace(study=Study(permutations=200, bootstraps=200), read=lambda name: None)
    return regions.judge(desk, KEY, rows, people, LABELS)


def test_without_donors_of_one_sex_there_is_a_reason_and_no_number(monkeypatch):
    reason = fills.find("donors").LACKING
    table = judge(np.full((12, 2), np.nan), [0, 1] * 6, monkeypatch, reason=reason)
    assert (table["n_participants"] == 0).all() and (table["reason"] == reason).all()
    assert table[["mean", "p", "p_fwe", "p_wilcoxon"]].isna().all(axis=None)


def test_people_of_one_sex_and_very_few_people_get_a_word(monkeypatch):
    values = np.random.default_rng(0).normal(1, 0.1, (12, 2))
    alone = judge(values, [1] * 12, monkeypatch)
    assert (alone["reason"] == regions.ONE_KIND.format("sex")).all() and alone["p_fwe"].isna().all()
    few = judge(values[:4], [0, 1] * 2, monkeypatch)
    assert (few["reason"] == regions.TOO_FEW).all() and few["p_fwe"].isna().all()


def test_a_constant_model_names_nothing(monkeypatch):
    table = judge(np.zeros((12, 2)), [0, 1] * 6, monkeypatch)
    assert (table["mean"] == 0).all() and (table["p_fwe"] == 1).all()


def test_drops_are_weighed_over_donors_before_people_are_compared():
    rows, _ = make_rows([[2.0, 0.0], [2.0, 0.0]], [1, 0])
    twice = pd.concat([rows.assign(weight=0.25), rows.assign(weight=0.75, value=0.0)])
    drops = regions.find_drops(twice, targets.find("sex"))
    lost = 0.5 - 1 / (1 + np.exp(2.0))
    np.testing.assert_allclose(drops[1], [0.25 * lost, -0.25 * lost])
    assert not drops[2].any()


def test_voxels_are_summed_over_the_regions_of_the_atlas():
    answer = attribution.Answer(1.0, np.arange(8.0).reshape(1, 2, 2, 2), np.array([], int))
    labels = np.array([[[0, 3], [3, 1]], [[1, 1], [0, 0]]])
    question = questions.Question("times", None, "Lobes")
    entry = SimpleNamespace(YIELDS="voxels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attribution, "find", lambda name: entry)
        table = attribute.tabulate(answer, question, labels)
    assert table["index"].tolist() == [1, 3] and table["value"].tolist() == [12.0, 3.0]
