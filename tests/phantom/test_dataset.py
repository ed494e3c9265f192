"""A phantom on disk: valid BIDS, the truth in the images, and the same every time."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from bids_sexclf.errors import InputError
from bids_sexclf.phantom import anatomy, population, signal
from bids_sexclf.phantom.dataset import TRUTH, grey_matter_loss, write_dataset
from bids_sexclf.phantom.options import PhantomOptions
from bids_sexclf.phantom.truth import TEMPLATE


def images(dataset):
    return sorted(path.relative_to(dataset) for path in dataset.rglob("*.nii.gz"))


def truth_table(dataset):
    return pd.read_csv(dataset / TRUTH / "truth.tsv", sep="\t", keep_default_na=False)


def regional_means(dataset, options, head):
    """Measure every lobe in the written T1w scans; shape (participants, 24)."""
    rows = []
    for person in population.draw_people(options):
        scan = nibabel.load(
            dataset / f"sub-{person.label}/anat/sub-{person.label}_T1w.nii.gz"
        ).get_fdata()
        body = anatomy.draw_body(options, person, head)
        labels = anatomy.scan_tissues(head, body, scan.shape, options.resolution).labels
        rows.append([scan[labels == index].mean() for index in range(1, 25)])
    return np.array(rows)


def test_images_hold_the_regional_values_of_the_truth(cohort, head):
    dataset, options = cohort
    found = regional_means(dataset, options, head)
    table = truth_table(dataset)
    planted = table[[f"T1w_{index:02d}" for index in range(1, 25)]].to_numpy(float)
    for index in range(24):
        assert np.corrcoef(found[:, index], planted[:, index])[0, 1] > 0.97


def test_only_the_planted_region_differs_in_the_images(cohort, head):
    dataset, options = cohort
    found = regional_means(dataset, options, head)
    men = (truth_table(dataset)["sex"] == "M").to_numpy()
    pooled = np.sqrt((found[men].var(0, ddof=1) + found[~men].var(0, ddof=1)) / 2)
    d = (found[men].mean(0) - found[~men].mean(0)) / pooled
    planted = options.effect_lobe["index"] - 1
    # With 8 in each group the SE of d is 0.5 around 0 and 1.1 around 5.
    assert abs(d[planted] - options.effect_size) < 3 * 1.1
    assert abs(np.delete(d, planted)).max() < 4 * 0.5
    assert planted == abs(d).argmax()


def test_true_masks_have_the_volume_of_the_truth(cohort):
    dataset, options = cohort
    table = truth_table(dataset)
    asked = [person.volume_ml for person in population.draw_people(options)]
    for label, volume in zip(table["participant_id"], table["brain_volume_ml"], strict=True):
        mask = nibabel.load(dataset / TRUTH / f"{label}/anat/{label}_desc-brain_mask.nii.gz")
        assert set(np.unique(mask.get_fdata())) == {0, 1}
        measured = mask.get_fdata().sum() * np.prod(mask.header.get_zooms()) / 1000
        assert measured == pytest.approx(volume, rel=1e-4)
    assert np.allclose(table["brain_volume_ml"], asked, rtol=0.02)
    assert table["brain_volume_ml"].between(800, 1600).all()


def test_truth_says_what_was_planted(cohort):
    dataset, options = cohort
    truth = json.loads((dataset / TRUTH / "truth.json").read_text())
    assert truth["EffectRegionName"] == options.effect_region
    assert truth["EffectRegionIndex"] == options.effect_lobe["index"]
    assert (truth["EffectMap"], truth["EffectSize"], truth["Seed"]) == ("T1w", 5.0, 3)
    assert set(truth_table(dataset).columns) <= set(truth)


def test_twins_stand_in_participants_tsv(cohort):
    dataset, _ = cohort
    people = pd.read_csv(dataset / "participants.tsv", sep="\t")
    pairs = [group for _, group in people.groupby("family_id") if len(group) == 2]
    assert len(pairs) == 2
    assert all(pair["sex"].nunique() == pair["age"].nunique() == 1 for pair in pairs)


def test_template_is_the_head_without_warp_and_its_atlas_fits(cohort):
    folder = cohort[0] / TEMPLATE
    names = ["T1w", "desc-brain_mask", "desc-brain_T1w", "label-WM_probseg", "atlas-Lobes_dseg"]
    t1w, mask, brain, white, atlas = (
        nibabel.load(folder / f"tpl-Phantom_res-02_{name}.nii.gz") for name in names
    )
    assert all(np.array_equal(t1w.affine, other.affine) for other in (mask, brain, white, atlas))
    inside = mask.get_fdata() > 0
    assert np.array_equal(brain.get_fdata(), t1w.get_fdata() * inside)
    labels = atlas.get_fdata().astype(int)
    assert inside[labels > 0].mean() > 0.999
    table = pd.read_csv(folder / "tpl-Phantom_res-02_atlas-Lobes_dseg.tsv", sep="\t")
    assert set(table["index"]) == set(np.unique(labels)) - {0}
    assert list(table.columns[:3]) == ["index", "name", "hemisphere"]
    assert (folder / "template_description.json").is_file()


def test_same_seed_gives_the_same_files_in_one_process_or_two(scanned_dataset, scanned, tmp_path):
    again = write_dataset(tmp_path / "again", scanned, nprocs=2)
    files = sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    assert files == sorted(
        p.relative_to(scanned_dataset) for p in scanned_dataset.rglob("*") if p.is_file()
    )
    for path in files:
        assert (again / path).read_bytes() == (scanned_dataset / path).read_bytes(), path


def test_a_second_run_completes_and_keeps_what_is_there(scanned_dataset, scanned, tmp_path):
    copy = shutil.copytree(scanned_dataset, tmp_path / "copy")
    lost = copy / "sub-002/dwi/sub-002_dwi.nii.gz"
    kept = copy / "sub-001/dwi/sub-001_dwi.nii.gz"
    lost.unlink()
    before = kept.stat().st_mtime_ns
    finished = []
    write_dataset(copy, scanned, finished.append)
    assert finished == ["001", "002"]
    assert kept.stat().st_mtime_ns == before
    assert lost.read_bytes() == (scanned_dataset / "sub-002/dwi/sub-002_dwi.nii.gz").read_bytes()
    assert not list(copy.rglob(".part-*"))


def test_other_options_do_not_mix_with_what_is_there(scanned_dataset):
    with pytest.raises(InputError, match="noise 0.002 where this run asks 0.02"):
        write_dataset(
            scanned_dataset,
            PhantomOptions(
                participants=2, seed=5, sites=2, resolution=6, dwi_resolution=5, bias=0.1,
                effect_map="MK",
            ),
        )  # fmt: skip


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.doc").write_text("mine")
    with pytest.raises(InputError, match="no phantom"):
        write_dataset(tmp_path, PhantomOptions(participants=1))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]


def pure_white_matter(dataset, options, head, person):
    """Fit kurtosis where there is nothing but white matter; give the truth beside it."""
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dki import DiffusionKurtosisModel

    stem = dataset / f"sub-{person.label}/dwi/sub-{person.label}_dwi"
    image = nibabel.load(f"{stem}.nii.gz")
    bvals, bvecs = np.loadtxt(f"{stem}.bval"), np.loadtxt(f"{stem}.bvec")
    body = anatomy.draw_body(options, person, head)
    shape = image.shape[:3]
    tissues = anatomy.scan_tissues(head, body, shape, options.dwi_resolution)
    inside = (tissues.white > 0.98) & (tissues.labels > 0)
    # Undo FSL's convention by hand: first axis back, then from voxel axes to the world.
    assert np.linalg.det(image.affine[:3, :3]) > 0
    world = (image.affine[:3, :3] / options.dwi_resolution) @ (bvecs * [[-1], [1], [1]])
    table = gradient_table(bvals, bvecs=world.T)
    fit = DiffusionKurtosisModel(table).fit(image.get_fdata()[inside])
    fibres = signal.fibre_directions(tissues.place[:, inside])
    return fit, tissues.labels[inside], (body.oblique @ body.pose @ fibres).T


def test_dipy_reads_fa_and_fibre_directions_from_the_written_scan(scanned_dataset, scanned, head):
    for person in population.draw_people(scanned):
        fit, labels, fibres = pure_white_matter(scanned_dataset, scanned, head, person)
        truth = person.regional_values("FA")[labels - 1]
        assert abs(np.median(fit.fa - truth)) < 0.02
        assert np.median(abs(fit.fa - truth)) < 0.04
        found = fit.directions[:, 0] if fit.directions.ndim == 3 else fit.directions
        angles = np.rad2deg(np.arccos(np.clip(abs((found * fibres).sum(1)), 0, 1)))
        assert np.median(angles) < 5
        assert np.quantile(angles, 0.95) < 15


def test_bias_and_noise_free_kurtosis_follows_the_truth(scanned_dataset, scanned, head):
    person = population.draw_people(scanned)[0]
    fit, labels, _ = pure_white_matter(scanned_dataset, scanned, head, person)
    found = fit.mk(min_kurtosis=-1, max_kurtosis=3)
    lobes = [index for index in np.unique(labels) if (labels == index).sum() >= 20]
    means = [np.median(found[labels == index]) for index in lobes]
    planted = [person.regional_values("MK")[index - 1] for index in lobes]
    assert len(lobes) >= 6
    assert np.corrcoef(means, planted)[0, 1] > 0.9


def test_every_fault_is_really_there(faulty_dataset):
    table = truth_table(faulty_dataset)
    faults = dict(zip(table["fault"], table["participant_id"], strict=True))
    assert set(faults) == {"truncated_t1w", "bval_count", "nan_slab", "missing_sex"}

    def t1w(fault):
        return nibabel.load(faulty_dataset / f"{faults[fault]}/anat/{faults[fault]}_T1w.nii.gz")

    with pytest.raises((EOFError, OSError)):
        t1w("truncated_t1w").get_fdata()
    slices = np.isnan(t1w("nan_slab").get_fdata()).all(axis=(0, 1))
    assert 0 < slices.sum() < len(slices) / 4
    stem = faulty_dataset / f"{faults['bval_count']}/dwi/{faults['bval_count']}_dwi"
    volumes = nibabel.load(f"{stem}.nii.gz").shape[3]
    assert len(np.loadtxt(f"{stem}.bval")) == volumes - 1
    people = pd.read_csv(faulty_dataset / "participants.tsv", sep="\t", keep_default_na=False)
    said = dict(zip(people["participant_id"], people["sex"], strict=True))
    assert {label for label, sex in said.items() if sex == "n/a"} == {faults["missing_sex"]}


def test_pybids_finds_scans_metadata_and_participants(scanned_dataset):
    from bids import BIDSLayout

    layout = BIDSLayout(scanned_dataset)
    assert layout.get_subjects() == ["001", "002"]
    assert len(layout.get(suffix="T1w", extension=".nii.gz")) == 2
    scan = layout.get(suffix="dwi", extension=".nii.gz", subject="001")[0]
    assert scan.get_metadata()["PhaseEncodingDirection"] == "j-"
    assert len(np.loadtxt(layout.get_bval(scan.path))) == scan.get_image().shape[3] == 27
    people = pd.read_csv(layout.get(suffix="participants", extension=".tsv")[0].path, sep="\t")
    assert set(people["sex"]) == {"F", "M"}
    assert set(people.columns) == {"participant_id", "sex", "age", "site_id"}


@pytest.mark.parametrize("folder", [Path(), TRUTH])
def test_bids_validator_finds_no_error(scanned_dataset, folder):
    tool = shutil.which("bids-validator-deno", path=Path(sys.executable).parent)
    if tool is None:
        pytest.skip("bids-validator-deno is not installed beside this Python")
    done = subprocess.run(
        [tool, "--format", "json", scanned_dataset / folder], capture_output=True, text=True
    )
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []


def test_headers_say_millimetres_and_scanner_space(scanned_dataset):
    for path in images(scanned_dataset):
        header = nibabel.load(scanned_dataset / path).header
        assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
        assert header.get_xyzt_units()[0] == "mm"
        assert np.allclose(header.get_sform(), header.get_qform(), atol=1e-3)


def test_grey_matter_is_lost_from_the_age_of_twenty_on():
    options = PhantomOptions(age_effect=0.02)
    assert grey_matter_loss(options, 20) == 0
    assert grey_matter_loss(options, 70) == pytest.approx(0.1)
