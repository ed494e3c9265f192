"""Every reader of files: an honest file for it, what damages the file, and what is read from it."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from attacks import damage


@dataclass(frozen=True)
class Reader:
    """One reader of the package.

    Attributes
    ----------
    name : str
    file : str
        Name of the file that is damaged.
    write : callable
        Called with a folder; writes the honest file, and what it needs beside it.
    read : callable
        Called with the path; gives something that can be compared, or a tuple of faults as
        text in `Refused`.
    damages : tuple of callable
        Each called with (bytes, random.Random); gives other bytes.
    """

    name: str
    file: str
    write: Callable
    read: Callable
    damages: tuple


class Refused(Exception):  # noqa: N818
    """Say that a reader has listed faults instead of raising an error."""


def _scan(folder, name, n=3, dtype=np.int16):
    import nibabel as nib

    rng = np.random.default_rng(1)
    shape = (24, 22, 20) + ((n,) if n else ())
    array = rng.integers(1, 1000, shape).astype(dtype)
    nib.Nifti1Image(array, np.diag([2.0, 2, 2, 1])).to_filename(folder / name)


def _load(path):
    from bids_sexclf.volumes import load

    array, affine = load(path)
    return array.shape, array.tobytes(), affine.tobytes()


def _inspect(path):
    from bids_sexclf.volumes import inspect

    seen = inspect(path)
    if seen.faults:
        raise Refused("; ".join(seen.faults))
    return seen


def _volumes(path):
    from bids_sexclf.volumes import volumes

    return [volume.tobytes() for volume in volumes(path)]


def _slabs(path):
    from bids_sexclf.volumes import open_slabs

    with open_slabs(path, path.parent) as (series, affine):
        return np.asarray(series[..., 1]).tobytes(), series.shape, affine.tobytes()


def _series(path):
    from bids_sexclf.volumes import load_series

    array = load_series(path)
    return array.shape, np.asarray(array).tobytes()


VALUES = [0, 0, 1000, 1000, 1000, 1000, 1000, 1000, 2000, 2000]


def _gradients(folder):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3, len(VALUES)))
    vectors /= np.linalg.norm(vectors, axis=0)
    vectors[:, :2] = 0
    (folder / "dwi.bval").write_text(" ".join(map(str, VALUES)) + "\n")
    lines = [" ".join(f"{value:.6f}" for value in row) for row in vectors]
    (folder / "dwi.bvec").write_text("\n".join(lines) + "\n")


def _read_gradients(path):
    from bids_sexclf.diffusion.scheme import read_gradients
    from bids_sexclf.participant.series_checks import check_gradient_files

    pair = [path.with_name("dwi.bval"), path.with_name("dwi.bvec")]
    files = SimpleNamespace(bval=pair[:1], bvec=pair[1:], dwi_done=False)
    faults, notes = check_gradient_files(files, [len(VALUES)], 50)
    if faults or notes:
        raise Refused("; ".join(faults + notes))
    return [array.tobytes() for array in read_gradients(*pair)]


def _people_table(folder):
    rows = [f"sub-{i:02d}\t{'FM'[i % 2]}\t{20.5 + i}\tfam{i // 2}\tsite{i % 3}" for i in range(12)]
    head = "participant_id\tsex\tage\tfamily_id\tsite"
    (folder / "participants.tsv").write_text("\n".join([head, *rows]) + "\n")


def _read_people(path):
    from bids_sexclf.people import read_participants

    people, faults = read_participants(path.parent)
    if faults:
        raise Refused(str(faults))
    return people.to_csv()


def _excluded(folder):
    rows = [f"sub-{i:02d}\tses-1\tpreflight\tFound {i}, needed {i + 1}." for i in range(8)]
    head = "participant_id\tsession_id\tstage\treason"
    (folder / "excluded.tsv").write_text("\n".join([head, *rows]) + "\n")


def _predictions(folder):
    head = "model\tmap\trepeat\tfold\tparticipant_id\tsession_id\tpart\ttarget\tevidence"
    rows = [
        f"cnn3\tT1w\t1\t{i % 3 + 1}\tsub-{i:02d}\tn/a\ttest\t{i % 2}\t{i / 7 - 1:.4f}"
        for i in range(12)
    ]
    (folder / "predictions.tsv").write_text("\n".join([head, *rows]) + "\n")


def _read_table(name):
    def read(path):
        from bids_sexclf.tables import read_table

        return read_table(path, name).to_csv()

    return read


def _split(folder):
    parts = ["train", "train", "validation", "test"]
    rows = [f"sub-{i:02d}\t{parts[(i // 2) % 4]}" for i in range(16)]
    (folder / "split.tsv").write_text("\n".join(["participant_id\tpart", *rows]) + "\n")


def _read_split(path):
    import pandas as pd

    from bids_sexclf.cohort.split_file import read_split

    ids = [f"sub-{i:02d}" for i in range(16)]
    sexes = ["female", "male"] * 8
    people = pd.DataFrame({"participant_id": ids, "sex": sexes, "family": ids})
    return read_split(path, people).to_csv()


def _motion(folder):
    rows = [f"{i / 9:.4f}\t{i / 5:.4f}" for i in range(12)]
    head = "framewise_displacement\ttrans_x"
    (folder / "motion.tsv").write_text("\n".join([head, *rows]) + "\n")


def _read_motion(path):
    from bids_sexclf.derivatives.foreign import read_motion

    moved, about = read_motion(path)
    if not np.isfinite(moved).all():
        raise Refused("no numbers")
    return list(moved), about


def _labels(kind):
    names = ["Left Amygdala", "Right Amygdala", "Left Caudate", "Right Caudate"]

    def write(folder):
        if kind == "xml":
            inner = "".join(
                f'<label index="{i}" x="1" y="2" z="3">{name}</label>\n'
                for i, name in enumerate(names)
            )
            text = f'<?xml version="1.0"?>\n<atlas><data>\n{inner}</data></atlas>\n'
        elif kind == "tsv":
            lines = [f"{i}\t{name}" for i, name in enumerate(names, 1)]
            text = "\n".join(["index\tname", *lines]) + "\n"
        else:
            text = "\n".join(f"{i} {name}" for i, name in enumerate(names, 1)) + "\n"
        (folder / f"labels.{kind}").write_text(text)

    return write


def _read_labels(path):
    from bids_sexclf.labels import read_labels

    table = read_labels(path)
    return table["index"].tolist(), table["name"].tolist()


def _filters(folder):
    (folder / "filters.json").write_text('{"t1w": {"reconstruction": "norm"}, "dwi": {"run": 1}}')


def _read_filters(path):
    from bids_sexclf.layout import read_filters

    return read_filters(path)


def _card(folder):
    from bids_sexclf.training.cards import write_card

    write_card(folder, "cnn3", {"options": {"width": 8}, "grid": [8, 8, 8]})


def _read_card(path):
    from bids_sexclf.training.cards import read_card

    return read_card(path.parent, "cnn3")


def _toml(folder):
    (folder / "study.toml").write_text(
        'maps = ["FA", "MD"]\nn_folds = 4\nepochs = 30\nlearning_rate = 1e-3\n'
        '[variants.small]\ndesign = "cnn3"\n'
    )


def _read_study(path):
    from bids_sexclf.settings import Study, build, find_study

    return build(Study, find_study(str(path)), path).model_dump()


def _cohort(folder):
    array = np.random.default_rng(0).normal(size=(5, 12, 12, 12)).astype(np.float32)
    np.save(folder / "T1w.npy", array)


def _read_cohort(path):
    from bids_sexclf.volumes import open_cohort

    array = open_cohort(path)
    return array.shape, str(array.dtype), np.asarray(array).tobytes()


def _weights(folder):
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(0)
    state = {f"layer{i}.weight": torch.randn(40, 30, generator=generator) for i in range(3)}
    save_file(state, folder / "weights.safetensors")


def _read_weights(path):
    from bids_sexclf.training.weight_files import read

    return {name: value.numpy().tobytes() for name, value in read(path).items()}


def _saved(folder):
    """Save a small fitted classifier of numbers, as the fit stage does."""
    from bids_sexclf import models
    from bids_sexclf.features import Features
    from bids_sexclf.settings import Study

    rng = np.random.default_rng(0)
    values = Features(rng.normal(size=(20, 4)), tuple("abcd"))
    model = models.make(Study(models=["knn"]), "knn")
    people = np.arange(20)
    model.fit(values, people % 2, validation=(values, people % 2), seed=0,
              folder=folder, progress=lambda **_: None, groups=people.astype(str))  # fmt: skip
    model.save(folder)


def _read_saved(path):
    from bids_sexclf import models
    from bids_sexclf.features import Features

    model = models.find_classifier("knn").Classifier.load(path.parent)
    values = Features(np.random.default_rng(1).normal(size=(6, 4)), tuple("abcd"))
    return np.asarray(model.evidence(values)).tobytes()


def _plugin(folder):
    (folder / "plugin.yml").write_text("plugin: MultiProc\nplugin_args:\n  n_procs: 2\n")


def _read_plugin(path):
    from bids_sexclf.participant.graph import read_plugin

    return read_plugin(path)


GZ = damage.GZIP
NII = damage.NIFTI

READERS = (
    Reader("load .nii.gz", "scan.nii.gz", lambda f: _scan(f, "scan.nii.gz", 0), _load, GZ),
    Reader("inspect .nii.gz", "scan.nii.gz", lambda f: _scan(f, "scan.nii.gz"), _inspect, GZ),
    Reader("volumes .nii.gz", "scan.nii.gz", lambda f: _scan(f, "scan.nii.gz"), _volumes, GZ),
    Reader("open_slabs .nii.gz", "scan.nii.gz", lambda f: _scan(f, "scan.nii.gz"), _slabs, GZ),
    Reader("load .nii", "scan.nii", lambda f: _scan(f, "scan.nii", 0), _load, NII),
    Reader("inspect .nii", "scan.nii", lambda f: _scan(f, "scan.nii"), _inspect, NII),
    Reader("load_series .nii", "s.nii", lambda f: _scan(f, "s.nii", 3, np.float32), _series, NII),
    Reader("gradients: bval", "dwi.bval", _gradients, _read_gradients, damage.NUMBERS),
    Reader("gradients: bvec", "dwi.bvec", _gradients, _read_gradients, damage.NUMBERS),
    Reader("participants.tsv", "participants.tsv", _people_table, _read_people, damage.TABLE),
    Reader("excluded.tsv", "excluded.tsv", _excluded, _read_table("excluded"), damage.TABLE),
    Reader("predictions.tsv", "predictions.tsv", _predictions, _read_table("predictions"),
           damage.TABLE),
    Reader("split file", "split.tsv", _split, _read_split, damage.NEEDED_TABLE),
    Reader("motion .tsv", "motion.tsv", _motion, _read_motion, damage.NEEDED_TABLE),
    Reader("labels .tsv", "labels.tsv", _labels("tsv"), _read_labels, damage.NEEDED_TABLE),
    Reader("labels .xml", "labels.xml", _labels("xml"), _read_labels, damage.XML),
    Reader("labels .txt", "labels.txt", _labels("txt"), _read_labels, damage.LINES),
    Reader("filter file", "filters.json", _filters, _read_filters, damage.JSON),
    Reader("model card", "model.json", _card, _read_card, damage.JSON),
    Reader("study file", "study.toml", _toml, _read_study, damage.TOML),
    Reader("cohort array", "T1w.npy", _cohort, _read_cohort, damage.NPY),
    Reader("weights", "weights.safetensors", _weights, _read_weights, damage.SAFETENSORS),
    Reader("saved model", "neighbours.safetensors", _saved, _read_saved, damage.SAVED),
    Reader("plugin file", "plugin.yml", _plugin, _read_plugin, damage.YAML),
)  # fmt: skip
