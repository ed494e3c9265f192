"""Splits that are not dealt at random: by site, from a file, and matched by brain size."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from bids_sexclf.errors import InputError
from bids_sexclf.group import base, splits
from bids_sexclf.settings import Study, build


def cohort(n=60, seed=0, **columns):
    rng = np.random.default_rng(seed)
    sex = np.array(["female", "male"] * (n // 2))
    table = {
        "participant_id": [f"sub-{i:03d}" for i in range(n)],
        "session_id": None,
        "sex": sex,
        "age_years": rng.uniform(20, 80, n),
        "family_id": None,
        "site": [f"site{i // 2 % 3}" for i in range(n)],
        "brain_volume_ml": 1200 + 100 * rng.standard_normal(n) + 80 * (sex == "male"),
    }
    return pd.DataFrame(table | columns)


def test_each_site_is_tested_by_those_that_saw_none_of_it():
    people = cohort()
    dealt = splits.deal(people, Study(split="site")).merge(people, on="participant_id")
    assert dealt["fold"].max() == 3
    for _, fold in dealt.groupby("fold"):
        sites = fold.groupby("part")["site"].unique()
        assert len(sites["test"]) == 1
        assert not set(sites["test"]) & {*sites["train"], *sites["validation"]}
    tested = dealt.query("part == 'test'")["participant_id"]
    assert sorted(tested) == sorted(people["participant_id"])


def test_relatives_at_another_site_do_not_train():
    family = [f"f{i}" for i in range(60)]
    family[2] = family[0] = "both"  # at site1 and site0
    people = cohort(family_id=family)
    dealt = splits.deal(people, Study(split="site"))
    splits.check_splits(dealt, people)
    unused = dealt.query("part == 'unused'")
    assert set(zip(unused["fold"], unused["participant_id"], strict=True)) == {
        (1, "sub-002"),
        (2, "sub-000"),
    }


@pytest.mark.parametrize(
    ("site", "words"),
    [(["a"] * 60, "1 site, unknown of 0"), (["a", "b", None] * 20, "unknown of 20.*sub-002")],
)
def test_one_site_or_unknown_sites_cannot_be_left_out(site, words):
    with pytest.raises(InputError, match=words):
        splits.deal(cohort(site=site), Study(split="site"))


def test_a_site_of_one_sex_is_named():
    people = cohort()
    people.loc[people["site"] == "site2", "sex"] = "male"
    with pytest.raises(InputError, match=r"1 site of one sex: site2 \(only male\)"):
        splits.deal(people, Study(split="site"))
    assert splits.deal(people, Study(split="site", target="age"))["fold"].max() == 3


@pytest.fixture
def from_file(tmp_path):
    """Give a function that deals the parts of a table."""

    def deal(table, people=None, excluded=()):
        path = tmp_path / "parts.tsv"
        table.to_csv(path, sep="\t", index=False)
        people = cohort(12) if people is None else people
        return splits.deal(people, Study(split="file", split_file=path), excluded)

    return deal


def parts(n=12):
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{i:03d}" for i in range(n)],
            "part": ["train"] * 6 + ["validation"] * 2 + ["test"] * (n - 8),
        }
    )


def test_given_parts_are_taken_as_they_are(from_file):
    dealt = from_file(parts().sample(frac=1, random_state=0))
    assert dealt.equals(parts().assign(repeat=1, fold=1)[splits.COLUMNS])
    splits.check_splits(dealt, cohort(12))


def test_ids_without_sub_and_several_folds_are_read(from_file):
    table = parts().assign(participant_id=lambda t: t["participant_id"].str[4:])
    turned = table.assign(part=np.roll(table["part"], 4))
    both = pd.concat([table.assign(repeat=1, fold=1), turned.assign(repeat=1, fold=2)])
    dealt = from_file(both)
    assert dealt.groupby("fold").size().tolist() == [12, 12]
    assert dealt["participant_id"].str.startswith("sub-").all()


def test_a_split_file_of_another_tool_is_read(tmp_path):
    table = parts()
    rows = [
        f"{person[4:]} ;{part.title()};1.0;1"
        for person, part in zip(table["participant_id"], table["part"], strict=True)
    ]
    path = tmp_path / "parts.csv"
    path.write_text("\ufeff" + "\r\n".join(["Participant ID;PART;repeat ;Fold", *rows, ""]))
    dealt = splits.deal(cohort(12), Study(split="file", split_file=path))
    assert dealt.equals(parts().assign(repeat=1, fold=1)[splits.COLUMNS])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("participant_id\tpart\n", "a header and no row below it"),
        ("", "it is empty"),
        ("participant_id\tpart\tfold\nsub-000\ttrain\t1\n", "repeat and fold both or neither"),
        ("participant_id\tpart\trepeat\tfold\nsub-000\ttrain\t1\t1.5\n", "no whole numbers"),
        ("participant_id\tpart\trepeat\tfold\nsub-000\ttrain\tx\tNA\n", "no whole numbers"),
        ("participant_id\tpart\nNA\ttrain\n", "1 rows without participant_id"),
    ],
)
def test_a_split_file_of_no_use_is_refused_in_words(tmp_path, content, words):
    path = tmp_path / "parts.tsv"
    path.write_text(content)
    with pytest.raises(InputError, match=words):
        splits.deal(cohort(12), Study(split="file", split_file=path))


def test_one_fold_in_two_spellings_is_one_fold(from_file):
    table = parts().assign(repeat="1", fold="1")
    again = table.assign(fold="01.0")
    with pytest.raises(InputError, match="participants on several lines"):
        from_file(pd.concat([table, again]))


def test_people_tested_in_two_folds_of_a_repeat_are_named(from_file):
    folds = pd.concat([parts().assign(repeat=1, fold=fold) for fold in (1, 2)])
    with pytest.raises(InputError, match="in two folds of a repeat .*sub-00.*Correct the table"):
        from_file(folds)


def test_who_was_left_out_of_the_cohort_may_stand_in_the_file(from_file):
    dealt = from_file(parts(14), excluded=["sub-012", "sub-013"])
    assert len(dealt) == 12


def test_every_fault_of_a_file_is_told_at_once(from_file):
    table = parts()
    table.loc[0, "participant_id"] = "sub-999"
    table.loc[1, "part"] = "learn"
    table = pd.concat([table, table.tail(1)])
    table["part"] = table["part"].replace("validation", "unused")
    people = cohort(12, family_id=["x" if i in (2, 11) else None for i in range(12)])
    with pytest.raises(InputError) as told:
        from_file(table, people)
    for words in (
        "1 participants not in the cohort (sub-999)",
        "parts that do not exist (learn)",
        "on several lines (sub-011)",
        "1 participants of the cohort without a part (sub-000)",
        "families in two parts (x)",
        "nobody in part validation",
    ):
        assert words in str(told.value)


def test_a_part_of_one_sex_is_told(from_file):
    table = parts()
    table.loc[table["participant_id"] == "sub-007", "part"] = "unused"
    with pytest.raises(InputError, match="only female participants in part validation"):
        from_file(table)


def test_a_test_part_of_one_sex_is_told_before_training(from_file):
    table = parts()
    table.loc[[8, 10], "part"] = "unused"
    with pytest.raises(InputError, match="only male participants in part test"):
        from_file(table)


def test_a_file_with_a_header_only_is_told(from_file):
    with pytest.raises(InputError, match="a header and no row below it"):
        from_file(parts().iloc[:0])


def test_parts_of_an_age_study_need_three_people(tmp_path):
    path = tmp_path / "parts.tsv"
    parts().to_csv(path, sep="\t", index=False)
    study = Study(split="file", split_file=path, target="age")
    with pytest.raises(InputError, match=r"only 2 participants in part validation"):
        splits.deal(cohort(12), study)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_no_part_of_one_sex_is_trained_on_or_scored(part):
    table, people = parts().assign(repeat=1, fold=2), splits.people_of(cohort(12))
    own = table["part"] == part
    people.loc[own.to_numpy(), "sex"] = "female"
    with pytest.raises(InputError, match=f"only female .* in part {part} of repeat 1, fold 2"):
        splits.check_scorable(table, people, "sex")


def test_a_file_needs_its_columns_and_its_split():
    with pytest.raises(InputError, match="need each other"):
        build(Study, {"split": "file"}, "x")
    with pytest.raises(InputError, match="need each other"):
        build(Study, {"split_file": "x.tsv"}, "x")


def test_a_file_that_changed_is_dealt_again(write_derivatives, run_study, tmp_path):
    root, path = write_derivatives(tmp_path, n=12), tmp_path / "parts.tsv"
    parts().to_csv(path, sep="\t", index=False)
    choices = {"split": "file", "split_file": path}
    desk = run_study(root, ("cohort", "splits"), **choices)
    assert base.state(desk, "splits") == "finished"
    parts().replace({"part": {"train": "test", "test": "train"}}).to_csv(
        path, sep="\t", index=False
    )
    assert base.state(desk, "splits") == "inputs changed"


def matched(n=200, caliper=10.0, **choices):
    people = cohort(n)
    dealt = splits.deal(people, Study(match="brain_size", match_caliper=caliper, **choices))
    splits.check_splits(dealt, people)
    return people, dealt.merge(people, on="participant_id")


@pytest.mark.parametrize("split", ["kfold", "fixed", "site"])
def test_parts_hold_as_many_women_as_men_of_like_brain_size(split):
    people, dealt = matched(split=split)
    before = roc_auc_score(people["sex"] == "male", people["brain_volume_ml"])
    for (_, part), rows in dealt.groupby(["fold", "part"]):
        if part == "unused":
            continue
        women, men = (
            rows.loc[rows["sex"] == sex, "brain_volume_ml"].sort_values().to_numpy()
            for sex in ("female", "male")
        )
        assert len(women) == len(men)
        # Pairs in order of size are no further apart than the pairs that were made.
        assert np.abs(women - men).max() <= 10
    used = dealt.query("part == 'train'")
    after = roc_auc_score(used["sex"] == "male", used["brain_volume_ml"])
    assert before > 0.65 and abs(after - 0.5) < 0.05


def test_nobody_vanishes_by_matching():
    people, dealt = matched()
    for _, fold in dealt.groupby("fold"):
        assert sorted(fold["participant_id"]) == sorted(people["participant_id"])
    assert (dealt["part"] == "unused").any()


def test_families_are_obeyed_where_pairs_are_made():
    family = [f"f{i // 4 * 2 + i % 2}" for i in range(200)]
    people = cohort(200, family_id=family)
    study = Study(match="brain_size", n_folds=3)
    splits.check_splits(splits.deal(people, study), people)


def test_small_parts_lose_nobody_but_those_without_a_partner():
    people, dealt = matched(n=60, caliper=20.0)
    unused = dealt[dealt["part"] == "unused"].groupby("fold")["participant_id"].agg(set)
    assert all(names == unused.iloc[0] for names in unused)


def test_too_few_pairs_and_unknown_sizes_are_refused():
    with pytest.raises(InputError, match="0 women and 0 men matched by brain size"):
        matched(n=40, caliper=0.1)
    people = cohort()
    people.loc[3, "brain_volume_ml"] = None
    with pytest.raises(InputError, match="1 participant without brain_volume_ml .sub-003."):
        splits.deal(people, Study(match="brain_size"))


def test_brain_size_tells_nothing_once_it_is_matched(write_derivatives, run_study, tmp_path):
    root = write_derivatives(tmp_path, n=120, size_effect=1.5, seed=2)
    choices = {"models": [], "baselines": ["brain_size"], "attributions": []}
    free = run_study(root, ("cohort", "splits", "fit", "evaluate"), **choices)
    held = run_study(
        root, ("cohort", "splits", "fit", "evaluate"), name="held", match="brain_size", **choices
    )
    aucs = [desk.read("scores").query("score == 'auc'").iloc[0] for desk in (free, held)]
    assert aucs[0].estimate > 0.75
    assert aucs[1].estimate < aucs[0].ci_low and aucs[1].ci_low < 0.5
    counts = (
        held.read("splits")
        .query("part == 'test'")
        .merge(held.read("cohort"), on="participant_id")["sex"]
        .value_counts()
    )
    assert counts["female"] == counts["male"] == aucs[1].n / 2


def test_ages_that_tie_are_dealt_alike_in_any_order():
    people = cohort(age_years=[30.0, 40.0] * 30)
    dealt = [splits.deal(some, Study()) for some in (people, people.iloc[::-1])]
    pd.testing.assert_frame_equal(*dealt)
