"""Write a phantom as a BIDS dataset with its truth; complete a dataset that was begun.

Scans lie in the root, as from a scanner; ``derivatives/phantom`` holds the truth that a pipeline
must not read: the planted effect, the true brain masks, and the template of all heads.
"""

import json
from concurrent.futures import as_completed
from pathlib import Path

import numpy as np

from bids_sexclf.disk import whole, write_json
from bids_sexclf.errors import InputError
from bids_sexclf.execute import pool
from bids_sexclf.layout import sidecar
from bids_sexclf.phantom import anatomy, faults, population, signal, truth
from bids_sexclf.phantom.template import make_head
from bids_sexclf.phantom.truth import GAIN, TRUTH
from bids_sexclf.volumes import save

REFERENCE_AGE, DECADE = 20.0, 10.0

T1W_SIDECAR = {
    "Manufacturer": "Phantom",
    "MagneticFieldStrength": 3,
    "RepetitionTime": 2.3,
    "EchoTime": 0.003,
    "InversionTime": 0.9,
    "FlipAngle": 9,
}
DWI_SIDECAR = {
    "Manufacturer": "Phantom",
    "MagneticFieldStrength": 3,
    "RepetitionTime": 6.0,
    "EchoTime": 0.09,
    "PhaseEncodingDirection": "j-",
    "TotalReadoutTime": 0.05,
}


def write_dataset(out, options, progress=None, nprocs=1):
    """Write a phantom dataset, or complete one that was begun with the same options.

    Parameters
    ----------
    out : path-like
        The dataset; made if absent.
    options : PhantomOptions
    progress : callable, optional
        Called with the label of every participant that is finished.
    nprocs : int
        Processes; never changes a number.

    Returns
    -------
    pathlib.Path
        `out`.

    Raises
    ------
    InputError
        If the folder holds anything but a phantom with the same options.
    """
    out = Path(out)
    planted = truth.describe_truth(options)
    _check_folder(out, planted)
    write_json(planted, out / TRUTH / "truth.json")
    people = population.draw_people(options)
    head = make_head()
    truth.write_descriptions(out, options, people)
    truth.write_template(out / truth.TEMPLATE, head)
    volumes = {}
    for person, volume in _each_participant(out, options, head, people, nprocs):
        volumes[person.label] = volume
        if progress is not None:
            progress(person.label)
    truth.write_truth_table(out / TRUTH / "truth.tsv", options, people, volumes)
    return out


def _each_participant(out, options, head, people, nprocs):
    """Write every participant, in this process or in a pool; yield each when it is finished."""
    if nprocs == 1:
        for person in people:
            yield person, write_participant(out, options, head, person)
        return
    with pool(nprocs) as executor:
        waiting = {
            executor.submit(write_participant, out, options, head, person): person
            for person in people
        }
        try:
            for job in as_completed(waiting):
                yield waiting[job], job.result()
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def write_participant(out, options, head, person):
    """Write the scans and the true brain mask of one participant; files that exist are kept.

    Parameters
    ----------
    out : pathlib.Path
        The dataset.
    options : PhantomOptions
    head : Head
        The template, as from `template.make_head`.
    person : Person

    Returns
    -------
    float
        Volume of the true brain mask, ml.
    """
    body = anatomy.draw_body(options, person, head)
    # One random stream per scan, so that a scan does not depend on the files that exist.
    t1w_rng, dwi_rng = population.streams(options, person)[0].spawn(2)
    volume_ml = _write_t1w(out, options, head, person, body, t1w_rng)
    if options.dwi:
        _write_dwi(out, options, head, person, body, dwi_rng)
    return volume_ml


def grey_matter_loss(options, age):
    """Compute the share of grey matter that is replaced by fluid at an age.

    Parameters
    ----------
    options : PhantomOptions
    age : float
        Years.

    Returns
    -------
    float
        Share in [0, 1]; 0 at the age of 20.
    """
    return options.age_effect * max(0.0, age - REFERENCE_AGE) / DECADE


def _write_t1w(out, options, head, person, body, rng):
    """Write the true brain mask and the T1w scan; return the volume of the mask, ml."""
    shape, affine = anatomy.scan_grid(options.resolution, body.oblique)
    loss = grey_matter_loss(options, person.age)
    tissues = anatomy.scan_tissues(head, body, shape, options.resolution, loss)
    mask = tissues.brain > 0.5
    scan = _name(out, person, "anat", "T1w.nii.gz")
    mask_path = _name(out / TRUTH, person, "anat", "desc-brain_mask.nii.gz")
    if not mask_path.exists():
        sources = [f"bids:raw:{scan.relative_to(out).as_posix()}"]
        write_json({"Type": "Brain", "Sources": sources}, sidecar(mask_path))
        save(mask, affine, mask_path)
    if not scan.exists():
        intensity, contrast, noise = population.site_draws(options, person.site)
        volume = signal.t1w_signal(tissues, person.relative["T1w"], contrast)
        axes = anatomy.gantry_axes(shape, options.resolution)
        volume *= signal.draw_bias(axes, options.bias, rng)
        volume = signal.add_noise(volume, options.noise * noise, rng) * GAIN * intensity
        write_json(T1W_SIDECAR, sidecar(scan))
        _save_t1w(volume, affine, scan, person.fault)
    return float(mask.sum()) * options.resolution**3 / 1000


def _save_t1w(volume, affine, path, fault):
    """Save a T1w scan, with the fault of its participant."""
    if fault == "nan_slab":
        save(faults.blank_slab(volume), affine, path)
        return
    with whole(path) as part:
        save(np.rint(volume).astype(np.int16), affine, part)
        if fault == "truncated_t1w":
            faults.truncate(part)


def _write_dwi(out, options, head, person, body, rng):
    """Write diffusion scan, b-values, directions and sidecar."""
    path = _name(out, person, "dwi", "dwi.nii.gz")
    if path.exists():
        return
    shape, affine = anatomy.scan_grid(options.dwi_resolution, body.oblique)
    gradients = signal.make_gradients(options.shells, options.directions, options.b0s)
    loss = grey_matter_loss(options, person.age)
    tissues = anatomy.scan_tissues(head, body, shape, options.dwi_resolution, loss)
    poses = _draw_motion(options, len(gradients.bvals), rng)
    scan = signal.dwi_signal(tissues, person, gradients, body.pose, poses)
    intensity, _, noise = population.site_draws(options, person.site)
    axes = anatomy.gantry_axes(shape, options.dwi_resolution)
    scan *= signal.draw_bias(axes, options.bias, rng)[..., None]
    sd = options.noise * noise * signal.B0["white"]
    scan = signal.add_noise(scan, sd, rng) * np.float32(GAIN * intensity)
    bvals = gradients.bvals
    if person.fault == "bval_count":
        bvals = faults.drop_last(bvals)
    _write_rows([bvals], "%d", _name(out, person, "dwi", "dwi.bval"))
    _write_rows(gradients.fsl_bvecs(affine), "%.6f", _name(out, person, "dwi", "dwi.bvec"))
    write_json(DWI_SIDECAR, sidecar(path))
    save(np.rint(scan).astype(np.int16), affine, path)


def _draw_motion(options, n_volumes, rng):
    """Draw the pose of the head in every volume; return None if it does not move."""
    if options.motion == 0:
        return None
    degrees, shifts = options.motion * rng.standard_normal((2, n_volumes, 3))
    # The first volume has the head position of the T1w scan.
    degrees[0] = shifts[0] = 0
    return [
        (anatomy.rotation(degrees[v]), shifts[v] / options.dwi_resolution) for v in range(n_volumes)
    ]


def _check_folder(out, planted):
    """Refuse a folder that holds anything but this phantom."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    begun = out / TRUTH / "truth.json"
    content = "files that are no phantom"
    if begun.is_file():
        before, asked_options = json.loads(begun.read_text()).get("Options", {}), planted["Options"]
        if before == asked_options:
            return
        names = [name for name in asked_options if before.get(name) != asked_options[name]]
        content = "a phantom made with " + ", ".join(f"{n} {before.get(n)}" for n in names)
        content += " where this run asks " + ", ".join(str(asked_options[n]) for n in names)
    raise InputError(
        f"Found {content} in {out}, needed an empty folder, or a phantom made with the same "
        "options to complete. Choose another folder, or the same options."
    )


def _name(root, person, kind, ending):
    """Name a file of one participant."""
    return root / f"sub-{person.label}" / kind / f"sub-{person.label}_{ending}"


def _write_rows(rows, number, path):
    """Write b-values or directions as FSL does: one row per axis."""
    with whole(path) as part:
        np.savetxt(part, rows, fmt=number, delimiter=" ")
