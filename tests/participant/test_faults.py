"""Faults on the way cost their own participant a row and a page, and nobody else a byte."""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import pytest

from bids_sexclf import layout
from bids_sexclf.disk import whole
from bids_sexclf.errors import REFUSALS, ToolError
from bids_sexclf.participant.failures import reason_of
from bids_sexclf.phantom.dataset import write_dataset
from bids_sexclf.phantom.options import PhantomOptions
from bids_sexclf.tables import read_table
from bids_sexclf.volumes import check_written, save

pytestmark = pytest.mark.slow
LIMIT = 6_000_000
"""Bytes: the largest file that the disturbed run may write."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Write three small diffusion scans; the third is too large for the disk of the test."""
    root = tmp_path_factory.mktemp("faults") / "bids"
    options = PhantomOptions(
        participants=3, seed=5, resolution=6, dwi_resolution=6, shells=(1000,), directions=(6,),
        b0s=1,
    )  # fmt: skip
    write_dataset(root, options)
    for person in ("sub-001", "sub-002", "sub-003"):
        for path in (root / person / "anat").iterdir():
            path.unlink()
    path = root / "sub-003" / "dwi" / "sub-003_dwi.nii.gz"
    scan = nib.load(path)
    large = np.repeat(np.repeat(np.asarray(scan.dataobj, np.float32), 3, 0), 3, 1)
    large *= 1 + np.random.default_rng(0).random(large.shape, np.float32) * 1e-3
    affine = scan.affine @ np.diag([1 / 3, 1 / 3, 1, 1])
    nib.Nifti1Image(large, affine).to_filename(path)
    assert path.stat().st_size > LIMIT
    return root


def command(root, out, *more):
    templates = root / "derivatives" / "phantom" / "templates"
    given = f"participant --template Phantom --templates-dir {templates} --resolution 6 --sloppy"
    given += " --dwi-alignment none --nprocs 2"
    parts = [sys.executable, "-m", "bids_sexclf.cli", root, out, *given.split(), *more]
    return [str(part) for part in parts]


def kill_worker_of(parent, folder, patience=300):
    """Kill the worker process that works in a node's folder."""
    start = time.monotonic()
    while time.monotonic() - start < patience and parent.poll() is None:
        for child in psutil.Process(parent.pid).children(recursive=True):
            try:
                if Path(child.cwd()) == folder:
                    child.kill()
                    return
            except psutil.Error:
                continue
        time.sleep(0.02)
    pytest.fail(f"no process has worked in {folder}")


@pytest.fixture(scope="module")
def undisturbed(dataset, tmp_path_factory):
    """Prepare the second participant alone."""
    out = tmp_path_factory.mktemp("alone") / "out"
    asked = command(dataset, out, "--participant-label", "002")
    ended = subprocess.run(asked, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return out


@pytest.fixture(scope="module")
def disturbed(dataset, tmp_path_factory):
    """Prepare all three: one's worker is killed in the middle, one finds no space left."""
    out = tmp_path_factory.mktemp("disturbed") / "out"
    child = subprocess.Popen(
        command(dataset, out),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT)),
    )
    kill_worker_of(child, out / "work" / "bids_sexclf_wf" / "sub_001_wf" / "register_wf" / "find")
    told, _ = child.communicate()
    assert child.returncode == 3, told
    assert "Traceback" not in told, told
    return out


def reasons(out):
    excluded = read_table(out / "excluded.tsv", "excluded")
    return excluded.set_index("participant_id")["reason"].to_dict()


def test_a_killed_worker_is_named_with_what_to_do(disturbed):
    reason = reasons(disturbed)["sub-001"]
    assert "sub_001_wf.register_wf.find was killed (SIGKILL)" in reason
    assert "--mem" in reason and "--nprocs" in reason
    assert not (disturbed / layout.derivative("quality", "sub-001")).exists()


def test_no_space_left_is_named_with_what_to_do(disturbed):
    reason = reasons(disturbed)["sub-003"]
    assert "no space left to write" in reason and "-w" in reason


def test_the_page_of_a_failed_participant_begins_with_the_error_and_keeps_its_pictures(disturbed):
    page = (disturbed / "sub-001.html").read_text()
    assert page.index("was killed (SIGKILL)") < page.index("<h2")
    for key in ("gradients", "dwimask"):
        path = f"sub-001/figures/sub-001_desc-{key}.svg"
        assert path in page and (disturbed / path).exists()
    assert "desc-famap" not in page  # it comes after the step that failed
    assert "no space left" in (disturbed / "sub-003.html").read_text()


def held(out, person):
    """Give what each of a participant's files holds; transforms carry the time they were made."""
    files = {}
    for path in sorted((out / person).rglob("*")):
        if path.is_file() and path.suffix != ".h5":
            image = path.name.endswith(".nii.gz")
            content = np.asarray(nib.load(path).dataobj).tobytes() if image else path.read_bytes()
            files[str(path.relative_to(out))] = content
    return files | {"page": (out / f"{person}.html").read_bytes()}


def test_the_others_files_are_those_of_a_run_without_faults(disturbed, undisturbed):
    alone, beside = held(undisturbed, "sub-002"), held(disturbed, "sub-002")
    assert sorted(alone) == sorted(beside) and len(alone) > 20
    assert [name for name in alone if alone[name] != beside[name]] == []


def test_nothing_half_written_is_left(disturbed):
    assert [path for path in disturbed.rglob(".part-*") if "work" not in path.parts] == []
    for path in disturbed.rglob("*.nii.gz"):
        if "work" not in path.parts:
            nib.load(path).get_fdata()


# -- each step, handed what a step before it may have spoiled --------------------------------------


@pytest.fixture
def scans(tmp_path):
    """Write a small head, its mask and a series with gradients."""
    rng = np.random.default_rng(0)
    grid = np.indices((16, 16, 16)) - 7.5
    ball = (grid**2).sum(0) < 36
    head = (ball * 80 + (ball & (grid[0] > 0)) * 40 + rng.random(ball.shape)).astype(np.float32)
    affine = np.diag([8.0, 8, 8, 1])
    directions = rng.normal(size=(7, 3))
    directions[0] = 0
    directions[1:] /= np.linalg.norm(directions[1:], axis=1, keepdims=True)
    bvals = np.array([0] + [1000] * 6)
    series = head[..., None] * np.exp(-bvals * 7e-4) + rng.random((*ball.shape, 7))
    save(head, affine, tmp_path / "head.nii.gz")
    save(200 * ball - head * ball, affine, tmp_path / "b0.nii.gz")
    save(ball, affine, tmp_path / "mask.nii.gz")
    save(series, affine, tmp_path / "dwi.nii.gz")
    np.savetxt(tmp_path / "dwi.bval", bvals[None], fmt="%d")
    np.savetxt(tmp_path / "dwi.bvec", directions.T)
    (tmp_path / "motion.json").write_text(json.dumps({"displacement_mm": [0.0] * 7}))
    return tmp_path


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def blank(path):
    image = nib.load(path)
    array = np.asarray(image.dataobj, np.float32).copy()
    array[:, :, 7:9] = np.nan
    save(array, image.affine, path)


def empty(path):
    image = nib.load(path)
    save(np.zeros(image.shape, np.float32), image.affine, path)


def cut(path):
    image = nib.load(path)
    save(np.asarray(image.dataobj)[:-3], image.affine, path)


def build_steps(folder):
    """Name each step of the route that reads a series or a volume, and what is spoiled for it."""
    from bids_sexclf.interfaces import ants, diffusion, distortion, fits, images, pictures

    head, mask, dwi = (folder / f"{name}.nii.gz" for name in ("head", "mask", "dwi"))
    table = {"bval": folder / "dwi.bval", "bvec": folder / "dwi.bvec"}
    series = {"in_file": dwi, **table}
    reference = {"template": head, "template_mask": mask, "white": mask}
    return {
        "conform": (images.Conform(in_file=head), head),
        "estimate": (diffusion.EstimateMotion(kind="none", **series), dwi),
        "mask": (diffusion.MaskB0(in_file=head), head),
        "average": (distortion.AverageB0(in_file=dwi, bval=folder / "dwi.bval"), dwi),
        "align": (ants.AlignRigid(in_file=dwi.with_name("b0.nii.gz"), fixed=head, mask=mask), head),
        "fit": (fits.FitMaps(mask=mask, clip=(0.0, 10.0), **series), dwi),
        "quality": (images.Quality(mask=mask, registered=head, **reference), head),
        "outline": (pictures.DrawOutline(background=head, mask=mask), head),
        "flicker": (pictures.DrawFlicker(fixed=mask, moved=head, labels=("a", "b")), head),
        "series": (
            pictures.DrawSeries(mask=mask, motion=folder / "motion.json", **series),
            dwi,
        ),
    }


STEPS = (
    "conform",
    "estimate",
    "mask",
    "average",
    "align",
    "fit",
    "quality",
    "outline",
    "flicker",
    "series",
)


@pytest.mark.parametrize("spoil", [truncate, blank, empty, cut], ids=lambda spoil: spoil.__name__)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_is_handed_a_spoiled_file_says_so_or_gives_finite_values(
    scans, step, spoil, monkeypatch
):
    monkeypatch.chdir(scans)
    interface, spoiled = build_steps(scans)[step]
    spoil(spoiled)
    try:
        made = interface.run().outputs
    except REFUSALS as fault:
        assert "eeded" in str(fault), fault
        return
    assert spoil is not truncate
    paths = [p for value in made.trait_get().values() for p in np.atleast_1d(value)]
    for path in (str(path) for path in paths if str(path).endswith(".nii.gz")):
        assert Path(path).exists()
        if step not in ("estimate", "conform"):
            assert np.isfinite(nib.load(path).get_fdata()).all(), path


def test_zero_b_vectors_never_reach_a_map(scans, monkeypatch):
    monkeypatch.chdir(scans)
    np.savetxt(scans / "dwi.bvec", np.zeros((3, 7)))
    with pytest.raises(REFUSALS):
        build_steps(scans)["fit"][0].run()


def test_a_compressed_image_that_is_cut_off_is_found_by_its_length(scans):
    path = scans / "head.nii.gz"
    assert check_written(path) == path
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ToolError, match="written only in part"):
        check_written(path)


def test_a_full_disk_leaves_no_half_file(tmp_path):
    """Write past a file size limit in a process of its own."""
    code = (
        "import resource, sys, numpy as np\n"
        "from bids_sexclf.volumes import save\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9999, 9999))\n"
        "save(np.random.default_rng(0).random((40, 40, 40)), np.eye(4), sys.argv[1])\n"
    )
    target = tmp_path / "out" / "map.nii.gz"
    ended = subprocess.run([sys.executable, "-c", code, target], capture_output=True, text=True)
    assert ended.returncode != 0
    assert "no space left" in reason_of(ended.stderr.splitlines())
    assert list(target.parent.iterdir()) == []


def test_a_device_without_space_is_named(tmp_path):
    with (
        pytest.raises(OSError) as fault,
        whole(tmp_path / "x") as part,
        open("/dev/full", "w") as f,
    ):
        part.write_text("first half")
        f.write("second half")
        f.flush()
    assert list(tmp_path.iterdir()) == []
    reason = reason_of([f"OSError: {fault.value}"])
    assert "Free some" in reason and "[Errno 28]" in reason


def test_an_error_of_a_tool_is_told_with_its_step():
    trace = ["Traceback", "RuntimeError: ITK says no"]
    reason = reason_of(trace, "anat_wf.n4")
    assert reason.startswith("ToolError: Found that step anat_wf.n4 ended with RuntimeError: ITK")
