"""A saved model answers for a new participant without the study that it was fitted in."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from bids_sexclf import layout
from bids_sexclf.bundle import FOLDER, Bundle, scaling
from bids_sexclf.errors import GridError, InputError
from bids_sexclf.volumes import load, save

MODELS = ("svm_rbf", "cnn3")


@pytest.fixture(scope="module")
def fitted(write_derivatives, run_study, tmp_path_factory):
    """Fit a study of two maps, read together, less age; some scans have not measured a part."""
    root = write_derivatives(tmp_path_factory.mktemp("bundle"), n=16, effect=8.0)
    out = root / "derivatives" / "out"
    for path in sorted(out.glob("sub-*/anat/*_T1w.nii.gz")):
        person = path.name.split("_")[0]
        values, affine = load(path, ndim=3)
        name = layout.derivative("tensor_template", person, space="Phantom", res="7", param="fa")
        save(np.clip(values, 0, None) ** 2 / 4, affine, out / name)
        if int(person[-1]) % 4 == 0:
            covered = np.ones(values.shape, bool)
            covered[:, :, : int(person[-1]) + 7] = False
            mask = layout.derivative("t1w_coverage", person, space="Phantom", res="7")
            save(covered, affine, out / mask)
        about = {"GeneratedWith": {"random_seed": 5, "out": person}, "Versions": {"dipy": "1"}}
        layout.sidecar(path).write_text(json.dumps(about))
    return run_study(
        root,
        ("cohort", "differences", "splits", "fit"),
        maps=["T1w+FA"],
        models=list(MODELS),
        baselines=["brain_size", "age_only"],
        residualize=["age"],
        n_folds=2,
        epochs=1,
        permutations=100,
    )


def find(fitted, model, map_="T1w+FA", fold=1):
    return fitted.folder / "models" / f"{model}_{map_}" / f"repeat-1_fold-{fold}" / FOLDER


@pytest.fixture(params=MODELS)
def alone(request, fitted, tmp_path):
    """Copy a bundle to an empty place; return it with the model and the predictions."""
    shutil.copytree(find(fitted, request.param), tmp_path / "given")
    predictions = fitted.read("predictions").query("part == 'test' and fold == 1")
    return tmp_path / "given", predictions[predictions["model"] == request.param]


def read_images(fitted, person):
    """Read the maps of a participant as the participant level wrote them."""
    out, images = fitted.derivatives, {}
    mask = out / layout.derivative("t1w_coverage", person, space="Phantom", res="7")
    for name, entry, param in (
        ("T1w", "t1w_template", {}),
        ("FA", "tensor_template", {"param": "fa"}),
    ):
        path = out / layout.derivative(entry, person, space="Phantom", res="7", **param)
        covered = load(mask, ndim=3)[0] > 0.5 if name == "T1w" and mask.exists() else None
        images[name] = (*load(path, ndim=3), covered)
    return images


def test_a_bundle_alone_gives_the_evidence_of_the_study(alone, fitted):
    place, predictions = alone
    people = fitted.read("cohort").set_index("participant_id")
    bundle, gaps = Bundle.read(place), 0
    for row in predictions.itertuples():
        images = read_images(fitted, row.participant_id)
        gaps += images["T1w"][2] is not None
        evidence = bundle.evidence(
            bundle.prepare(images)[None], people.loc[[row.participant_id], ["age_years"]]
        )
        assert evidence.tolist() == [row.evidence]
    assert len(predictions) == 8 and gaps


def test_a_bundle_tells_what_a_new_participant_must_match(alone, fitted):
    bundle, splits = Bundle.read(alone[0]), fitted.read("splits").query("fold == 1")
    assert bundle.maps == ("T1w", "FA") and bundle.template == {
        "space": "Phantom",
        "resolution": "7",
    }
    assert bundle.scaling == {"T1w": scaling.OWN_SPREAD, "FA": scaling.UNITS}
    assert bundle.preparation["T1w"]["preparation"] == {"random_seed": 5}  # "out" differs
    assert bundle.preparation["T1w"]["versions"] == {"dipy": "1"}
    for part, names in bundle.participants.items():
        assert names == sorted(splits.loc[splits["part"] == part, "participant_id"])
    assert bundle.adjustment.columns == ("age_years",) and "torch" in bundle.versions


def test_only_json_and_safetensors_lie_in_a_bundle(fitted):
    for path in fitted.folder.glob(f"models/*/*/{FOLDER}/*"):
        assert path.suffix in (".json", ".safetensors"), path


def test_what_is_missing_is_named(alone, fitted):
    bundle = Bundle.read(alone[0])
    images = read_images(fitted, "sub-001")
    with pytest.raises(InputError, match=r"Found maps T1w, needed T1w, FA"):
        bundle.prepare({"T1w": images["T1w"]})
    volume = bundle.prepare(images)[None]
    with pytest.raises(InputError, match="Found no age_years of the participants"):
        bundle.evidence(volume)
    with pytest.raises(GridError, match="the grid of the model"):
        bundle.evidence(volume[..., 1:], pd.DataFrame({"age_years": [30.0]}))
    flat = images["T1w"][0] * 0
    with pytest.raises(InputError, match="Found map T1w, which is constant"):
        bundle.prepare(images | {"T1w": (flat, images["T1w"][1], None)})


def test_bundles_of_tables_name_their_columns(fitted):
    bundle = Bundle.read(find(fitted, "brain_size", "table"))
    rows = fitted.read("predictions").query("model == 'brain_size' and part == 'test'")
    cohort = fitted.read("cohort").set_index("participant_id")
    row = rows.iloc[0]
    assert bundle.columns == ("brain_volume_ml",) and bundle.maps == ()
    values = cohort.loc[[row["participant_id"]], list(bundle.columns)].to_numpy(float)
    folder = find(fitted, "brain_size", "table", row["fold"])
    assert Bundle.read(folder).evidence(values)[0] == row["evidence"]
    with pytest.raises(InputError, match="reads a table"):
        bundle.prepare({})
