"""Promises about FreeSurfer's tables; the files have its format and invented numbers."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_sexclf.anatomy.freesurfer import find_stats, intracranial_ml, read_stats
from bids_sexclf.anatomy.morphometry import KEYS, widen
from bids_sexclf.errors import InputError

SUBJECTS = Path(__file__).parents[1] / "data" / "freesurfer"
STATS = SUBJECTS / "sub-01" / "stats"


def test_every_structure_of_aseg_is_read_with_its_index_side_and_volume():
    table = read_stats(STATS / "aseg.stats").dropna(subset="region").set_index("region")
    assert table.index.tolist() == [4, 16, 17, 53, 77, 251]
    assert table.loc[17, "name"] == "Left-Hippocampus" and table.loc[17, "volume_mm3"] == 4180.2
    assert table["hemisphere"].tolist() == ["L", "B", "L", "R", "B", "B"]
    assert set(table["atlas"]) == {"aseg"} and table["area_mm2"].isna().all()


def test_measures_of_the_whole_brain_stand_without_a_region():
    table = read_stats(STATS / "aseg.stats")
    whole = table[table["region"].isna()].set_index("name")
    assert whole.loc["TotalGrayVol", "volume_mm3"] == 660112.141935
    assert whole.loc["lhCortexVol", "hemisphere"] == "L"
    assert "SurfaceHoles" not in whole.index and "MaskVol-to-eTIV" not in whole.index
    assert intracranial_ml(table) == pytest.approx(1537.563437)


@pytest.mark.parametrize(("name", "side"), [("lh.aparc.stats", "L"), ("rh.aparc.stats", "R")])
def test_cortical_regions_keep_area_volume_thickness_and_curvature(name, side):
    table = read_stats(STATS / name)
    assert set(table["hemisphere"]) == {side} and table["region"].isna().all()
    row = table.set_index("name").loc["bankssts"]
    assert row[["area_mm2", "volume_mm3", "thickness_mm", "thickness_sd_mm"]].tolist() == [
        878, 2116, 2.492, 0.415,
    ]  # fmt: skip
    assert row[["mean_curvature", "gaussian_curvature", "folding_index", "curvature_index"]].tolist(
    ) == [0.101, 0.021, 11, 1.1]  # fmt: skip
    whole = table.set_index("name").loc[["WhiteSurfArea", "MeanThickness"]]
    assert whole.loc["WhiteSurfArea", "area_mm2"] == 88541.3
    assert whole.loc["MeanThickness", "thickness_mm"] == 2.49353
    # The brain's measures are those of aseg, and are not told three times.
    assert not {"BrainSegVol", "eTIV"} & set(table["name"]) and intracranial_ml(table) is None


def test_tables_are_found_by_participant_and_by_session(tmp_path):
    assert [path.name for path in find_stats(SUBJECTS, "sub-01")] == [
        "aseg.stats", "lh.aparc.stats", "rh.aparc.stats",
    ]  # fmt: skip
    assert find_stats(SUBJECTS, "sub-02") == []
    assert find_stats(SUBJECTS, "sub-01", "ses-1") == find_stats(SUBJECTS, "sub-01")
    for name in ("sub-01", "sub-01_ses-1", "100307"):
        shutil.copytree(STATS, tmp_path / name / "stats")
    assert find_stats(tmp_path, "sub-01", "ses-1")[0].parts[-3] == "sub-01_ses-1"
    assert find_stats(tmp_path, "sub-01", "ses-2")[0].parts[-3] == "sub-01"
    assert find_stats(tmp_path, "sub-100307")[0].parts[-3] == "100307"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("# ColHeaders", "# Columns"),
        lambda text: text[: text.rindex("3.071")],
        lambda text: text.replace("2.801", "thick"),
        lambda text: text.replace("2.801", "2_801"),
        lambda text: text.replace("2.49353", "2-49353"),
    ],
)
def test_a_spoiled_table_is_named(tmp_path, spoil):
    path = tmp_path / "lh.aparc.stats"
    path.write_text(spoil((STATS / path.name).read_text()))
    with pytest.raises(InputError, match=r"lh\.aparc\.stats"):
        read_stats(path)


def test_intensities_and_counts_are_read():
    aseg = read_stats(STATS / "aseg.stats").set_index("name")
    corpus = aseg.loc["CC_Posterior"]
    assert corpus["n_voxels"] == 1010 and corpus["norm_mean"] == 110.4409
    assert corpus[["norm_sd", "norm_min", "norm_max", "norm_range"]].tolist() == [
        9.0321, 66, 133, 67,
    ]  # fmt: skip
    cortex = read_stats(STATS / "lh.aparc.stats").set_index("name")
    assert cortex.loc["bankssts", "n_vertices"] == 1320
    assert cortex.loc["NumVert", "n_vertices"] == 134576


def test_whole_tables_give_every_feature_of_every_region(tmp_path):
    # 45 structures with 7 measures, 34 regions of each hemisphere with 9: 927 features.
    folder = tmp_path / "sub-1" / "stats"
    folder.mkdir(parents=True)
    heads = {
        "aseg.stats": "Index SegId NVoxels Volume_mm3 StructName normMean normStdDev normMin "
        "normMax normRange",
        "lh.aparc.stats": "StructName NumVert SurfArea GrayVol ThickAvg ThickStd MeanCurv GausCurv "
        "FoldInd CurvInd",
    }
    heads["rh.aparc.stats"] = heads["lh.aparc.stats"]
    for name, head in heads.items():
        columns, count = head.split(), 45 if name == "aseg.stats" else 34
        rows = [
            " ".join(f"s{i}" if column == "StructName" else str(i) for column in columns)
            for i in range(1, count + 1)
        ]
        (folder / name).write_text("\n".join([f"# ColHeaders {head} ", *rows]) + "\n")
    tables = [read_stats(path) for path in find_stats(tmp_path, "sub-1")]
    table = pd.concat(tables).assign(participant_id="sub-1", session_id=None)
    wide = widen(table[[*KEYS, *(column for column in table if column not in KEYS)]])
    assert wide.shape == (1, 45 * 7 + 2 * 34 * 9) == (1, 927)


def test_numbers_are_numbers():
    table = read_stats(STATS / "aseg.stats")
    assert table["volume_mm3"].dtype == np.float64 and table["region"].dtype == np.float64
