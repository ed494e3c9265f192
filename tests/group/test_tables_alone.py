"""Studies of tables alone: features of other tools and participants.tsv, and no image."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_sexclf.errors import InputError
from bids_sexclf.group import base
from bids_sexclf.settings import Run, Study

ASEG = [
    *(f"{side}-{name}" for side in ("Left", "Right") for name in ("Hippocampus", "Amygdala")),
    *("Brain-Stem", "CC_Posterior", "CC_Central"),
]
ICV = "EstimatedTotalIntraCranialVol"
QUICK = {"models": ["logistic"], "bootstraps": 100, "permutations": 200, "n_folds": 3}


def write_people(root, n, **columns):
    root.mkdir(parents=True, exist_ok=True)
    people = pd.DataFrame(
        {
            "participant_id": [f"sub-{i:04d}" for i in range(n)],
            "sex": ["F", "M"] * (n // 2),
            "age": np.random.default_rng(1).uniform(20, 80, n).round(1),
        }
        | columns
    )
    people.to_csv(root / "participants.tsv", sep="\t", index=False)
    return people


def make_features(people, names=ASEG, planted="CC_Posterior", effect=2.0, seed=0):
    """Draw volumes, of which one differs between the sexes beyond the size of the head."""
    rng, male = np.random.default_rng(seed), (people["sex"] == "M").to_numpy()
    skull = rng.normal(1_450_000 + 120_000 * male, 100_000)
    values = {name: rng.normal(4000, 300, len(people)) for name in names}
    if planted:
        values[planted] += 300 * effect * male
    return pd.DataFrame({"Measure:volume": people["participant_id"]} | values | {ICV: skull})


@pytest.fixture
def study_of(tmp_path):
    """Give a function that runs a study on a table."""

    def run(table, name="aseg.tsv", stages=base.STAGES, derivatives=None, **choices):
        path = tmp_path / name
        if isinstance(table, str):
            path.write_text(table, encoding="utf-8")
        elif table is not None:
            table.to_csv(path, sep="," if name.endswith("csv") else "\t", index=False, na_rep="NA")
        features = {} if table is None else {"features": str(path)}
        study = Study(**(QUICK | features | choices))
        run = Run(nprocs=1, derivatives=derivatives)
        desk = base.Desk.at(tmp_path / "bids", tmp_path / "out", run, study)
        for stage in stages:
            base.run_stage(desk, stage)
        return desk

    return run


def test_a_table_of_226_people_runs_whole(tmp_path, study_of):
    people = write_people(tmp_path / "bids", 226)
    choices = {"models": ["logistic", "xgboost"], "baselines": ["brain_size", "shuffled"]}
    desk = study_of(make_features(people), **choices)
    cohort = desk.read("cohort")
    assert len(cohort) == 226 and cohort["brain_volume_ml"].between(1000, 2000).all()
    scores = desk.read("scores").query("score == 'auc'").set_index("model")["estimate"]
    assert scores["logistic"] > 0.9 and scores["xgboost"] > 0.9 and scores["brain_size"] > 0.6
    assert 0.3 < scores["shuffled"] < 0.7 and set(desk.read("predictions")["map"]) == {"table"}
    differences = desk.read("differences").query("map == 'features'")
    plain = differences.query("adjusted_for == 'nothing'").set_index("name")
    assert set(plain.index) == {*ASEG, ICV} and set(plain["atlas"]) == {"aseg"}
    assert set(plain.index[plain["p_fwe"] < 0.05]) == {"CC_Posterior", ICV}
    assert plain.loc["Left-Hippocampus", "hemisphere"] == "L"
    claims = pd.read_csv(desk.folder / "claims.tsv", sep="\t").set_index("name")
    assert claims.loc["CC_Posterior", "verdict"] == "differs; no model was asked"
    weights = desk.read("importances").query("model == 'logistic'")
    top = weights.loc[weights.groupby("fold")["importance"].idxmax()]
    assert set(top["name"]) == {"CC_Posterior"}
    assert desk.read("regions").empty and not list(desk.folder.glob("arrays/*"))
    report = (desk.folder / "report.html").read_text()
    assert "no image was read" in report and "could not be drawn" not in report
    assert all(base.state(desk, stage) == "finished" for stage in base.STAGES)


def test_what_a_feature_adds_to_the_others_is_asked_where_it_is_set(tmp_path, study_of):
    people = write_people(tmp_path / "bids", 40)
    desk = study_of(
        make_features(people, effect=4.0),
        stages=("cohort", "splits", "fit", "evaluate", "attribute", "regions"),
        attributions=["permutation_importance", "region_occlusion"],
        attribution_options={"donors": {"per_sex": 1}},
        baselines=[],
        n_folds=2,
    )
    groups = desk.read("feature_groups")
    assert set(groups["group"]) >= {"CC_Posterior", "Brain-Stem"} and desk.read("regions").empty
    assert groups.iloc[0]["group"] == "CC_Posterior" and groups.iloc[0]["p_fwe"] < 0.05


def test_a_thousand_people_with_many_features_are_quick(tmp_path, study_of):
    people = write_people(tmp_path / "bids", 1000)
    names = [f"{side}_r{i}_thickness" for side in ("lh", "rh") for i in range(75)]
    table = make_features(people, names, planted="lh_r3_thickness")
    start = sum(os.times()[:4])  # seconds of processors, also of processes that have ended
    desk = study_of(table, stages=base.STAGES[:4], baselines=["brain_size"])
    assert sum(os.times()[:4]) - start < 60
    assert len(desk.read("cohort")) == 1000


def test_where_nothing_is_to_be_found_nothing_is_claimed(tmp_path, study_of):
    people = write_people(tmp_path / "bids", 60)
    table = make_features(people, planted=None).drop(columns=ICV)
    desk = study_of(table, stages=("cohort", "differences"))
    assert (desk.read("differences")["p_fwe"] > 0.05).all()
    assert desk.read("cohort")["brain_volume_ml"].isna().all()


@pytest.mark.parametrize(
    ("name", "header", "row"),
    [
        ("a.tsv", "participant_id\tleft\tICV", "{i:04d} \t{v}\t{s}"),
        ("a.csv", "\ufeffSubject,Gender,FS_left,FS_IntraCranial_Vol", "{i:04d},F,{v},{s}"),
        ("a.csv", "eid;left;eTIV", "sub-{i:04d};{c};{s}"),
        ("a.txt", "lh.aparc.thickness\tleft\teTIV", "{i:04d}\t{v}\t{s} "),
    ],
)
def test_one_table_in_the_spelling_of_each_tool(tmp_path, study_of, name, header, row):
    write_people(tmp_path / "bids", 12)
    lines = [header]
    for i in range(12):
        v = 1.5 + i
        lines.append(row.format(i=i, v=v, c=str(v).replace(".", ","), s=1_400_000 + i))
    desk = study_of("\r\n".join(lines), name, stages=["cohort", "differences"])
    cohort = desk.read("cohort")
    assert len(cohort) == 12 and cohort["brain_volume_ml"].iloc[3] == pytest.approx(1400.003)
    named = desk.read("differences")["name"]
    assert any(name.endswith("left") for name in named) and "Gender" not in set(named)


def test_what_is_wrong_with_one_row_costs_that_row(tmp_path, study_of):
    people = write_people(tmp_path / "bids", 20)
    table = make_features(people)
    table.loc[3, ASEG] = table.loc[2, ASEG]
    table.loc[3, ICV] = table.loc[2, ICV]
    table.loc[4, [*ASEG, ICV]] = np.nan
    table.loc[5, ICV] = np.nan
    table = pd.concat([table.drop(index=6), table.tail(1).assign(**{"Measure:volume": "sub-9999"})])
    desk = study_of(table, stages=["cohort"])
    reasons = desk.read("excluded").set_index("participant_id")["reason"]
    assert "same, to the last digit, as those of sub-0002" in reasons["sub-0003"]
    assert "no number" in reasons["sub-0004"] and "brain size is unknown" in reasons["sub-0005"]
    assert "no row in" in reasons["sub-0006"] and "participants.tsv" in reasons["sub-9999"]
    assert len(desk.read("cohort")) == 20 - 5 - 1  # the copy of the last row makes it doubtful


def test_brain_size_may_stand_in_the_table_of_people(tmp_path, study_of):
    people = write_people(tmp_path / "bids", 12, tiv_cubicmm=1_500_000.0 + np.arange(12))
    table = make_features(people).drop(columns=ICV)
    sizes = study_of(table, stages=["cohort"]).read("cohort")["brain_volume_ml"]
    assert sizes.tolist() == pytest.approx((1_500_000 + np.arange(12)) / 1000)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("skul", "no column skul in aseg.tsv or participants.tsv.*Did you mean"),
        ("Brain-Stem", "Brain-Stem with median 4.* needed volumes"),
        ("sex", "sex of participants.tsv with text"),
    ],
)
def test_a_brain_size_of_no_use_is_refused(tmp_path, study_of, column, words):
    people = write_people(tmp_path / "bids", 12, skull=1400)
    table = make_features(people).drop(columns=ICV)
    with pytest.raises(InputError, match=words):
        study_of(table, stages=["cohort"], brain_size_column=column)


def test_networks_need_maps(tmp_path, study_of):
    people = write_people(tmp_path / "bids", 12)
    with pytest.raises(InputError, match=r"needed sub-\*/\*_quality.json.*a table, and no scans"):
        study_of(make_features(people), stages=["cohort"], models=["cnn3"])
    with pytest.raises(InputError, match=r"maps = \[\] with cnn3, which reads maps"):
        study_of(make_features(people), stages=["cohort"], models=["cnn3"], maps=[])


def test_a_changed_table_is_seen(tmp_path, study_of):
    people = write_people(tmp_path / "bids", 12)
    desk = study_of(make_features(people), stages=["cohort", "differences"])
    make_features(people, seed=1).to_csv(tmp_path / "aseg.tsv", sep="\t", index=False)
    assert [base.state(desk, name) for name in ("cohort", "differences")] == ["inputs changed"] * 2


def test_a_persons_verdict_counts_without_scans(tmp_path, study_of):
    people = write_people(tmp_path / "bids", 12)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "ratings.tsv").write_text(
        "participant_id\tsession_id\tverdict\tcomment\nsub-0003\tn/a\texclude\tlesion\n"
    )
    desk = study_of(make_features(people), stages=["cohort"])
    assert len(desk.read("cohort")) == 11 and "lesion" in desk.read("excluded")["reason"].iloc[0]


STATS = Path(__file__).parents[1] / "data" / "freesurfer" / "sub-01" / "stats"


@pytest.mark.parametrize(
    ("name", "place"), [("freesurfer", "{}/stats"), ("hcp", "{0}/T1w/{0}/stats")]
)
def test_freesurfers_own_tables_are_enough(tmp_path, study_of, name, place):
    people = write_people(tmp_path / "bids", 12)
    for i, person in enumerate(people["participant_id"].str.removeprefix("sub-")):
        folder = tmp_path / "subjects" / place.format(person)
        shutil.copytree(STATS, folder)
        path = folder / "aseg.stats"
        text = path.read_text().replace("110.4409", f"{100 + 20 * (i % 2) + i / 10}")
        path.write_text(text.replace("1537563.4", f"15{10 + i}563.4"))
    derivatives = [f"{name}={tmp_path / 'subjects'}"]
    stages = ["cohort", "differences", "splits", "fit"]
    choices = {"n_folds": 2, "baselines": ["brain_size"]}
    desk = study_of(None, stages=stages, derivatives=derivatives, **choices)
    cohort = desk.read("cohort")
    assert len(cohort) == 12 and cohort["brain_volume_ml"].iloc[3] == pytest.approx(1513.563437)
    assert (cohort["brain_volume_ml"] == cohort["intracranial_volume_ml"]).all()
    table = desk.read("differences").query("adjusted_for == 'nothing'").set_index("name")
    bright = table.query("map == 'intensity'")
    assert bright.loc["CC_Posterior", "p"] < 0.05 and bright.loc["CC_Posterior", "d"] > 2
    weights = desk.read("importances")
    top = weights.loc[weights["importance"].abs().idxmax()]
    assert (top["name"], top["measure"]) == ("CC_Posterior", "norm_mean")
    assert base.state(desk, "cohort") == "finished"
