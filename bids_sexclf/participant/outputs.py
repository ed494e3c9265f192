"""Derivatives of one participant-session, written whole, the quality file last."""

import filecmp
import json
import shutil
from pathlib import Path

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    traits,
)
from nipype.interfaces.base import isdefined as _given

from bids_sexclf.derivatives.prepared import as_uri
from bids_sexclf.disk import read_object, whole, write_json
from bids_sexclf.layout import derivative, names, number_label, paths, sidecar, versions
from bids_sexclf.participant.finished import record_outputs, remove_outputs
from bids_sexclf.participant.register import ROUTES
from bids_sexclf.volumes import check_written

SINGLE = {
    "t1w": "t1w_preproc",
    "mask": "t1w_mask",
    "t1w_template": "t1w_template",
    "mask_template": "t1w_template_mask",
    "forward": "t1w_to_template",
    "inverse": "template_to_t1w",
    "t1w_acpc": "t1w_acpc",
    "mask_acpc": "t1w_acpc_mask",
    "acpc_transform": "t1w_to_acpc",
    "t1w_affine": "t1w_affine",
    "affine_transform": "t1w_to_template_affine",
    "dseg": "t1w_dseg",
    "dwi": "dwi_preproc",
    "bval": "dwi_bval",
    "bvec": "dwi_bvec",
    "dwi_mask": "dwi_mask",
    "covered_t1w": "t1w_coverage",
    "covered_dwi": "dwi_coverage",
    "distortion_warp": "distortion_warp",
}
"""Input of the node to its entry in ``data/names.json``."""

ABOUT = {
    "t1w": {"Description": "T1w without bias field, RAS+ axes", "SkullStripped": False},
    "mask": {"Type": "Brain", "Description": "Brain mask on the T1w"},
    "t1w_template": {"Description": "Brain on the group grid", "SkullStripped": True},
    "mask_template": {"Type": "Brain", "Description": "Brain mask on the group grid"},
    "t1w_acpc": {
        "Description": "Brain upright by anterior and posterior commissure and midline; aligned "
        "rigidly and not scaled, so that brain size is kept",
        "SkullStripped": True,
        "BrainSizeKept": True,
    },
    "mask_acpc": {"Type": "Brain", "Description": "Brain mask, upright and not scaled"},
    "acpc_transform": {"Description": "Rigid: T1w to ACPC, which keeps distances"},
    "t1w_affine": {
        "Description": "Brain on the group grid by the affine transform that is closest to the "
        "whole registration; scaled, not deformed",
        "SkullStripped": True,
    },
    "affine_transform": {"Description": "Affine: T1w to template"},
    "dseg": {"Description": "Tissues by T1w intensity; indices as in the table beside it"},
    "dwi": {"Description": "Aligned diffusion volumes", "SkullStripped": False},
    "dwi_mask": {"Type": "Brain", "Description": "Brain mask on the mean b=0 volume"},
    "covered_t1w": {
        "Type": "ROI",
        "Description": "Where the T1w has measured, on the group grid; elsewhere the 0 of images "
        "in this space means that nothing is known",
    },
    "covered_dwi": {
        "Type": "ROI",
        "Description": "Where the diffusion series has measured, on the group grid; elsewhere the "
        "0 of maps in this space means that nothing is known",
    },
    "distortion_warp": {
        "Description": "Displacement field that ANTs applies to remove susceptibility distortion",
        "Units": "mm",
    },
}

WARP_OF_PART = {
    "Description": "Displacement field that ANTs applies to bring the mean b=0 volume of one phase "
    "encoding, as scanned, to the pooled series: rigid motion and susceptibility distortion",
    "Units": "mm",
}

ANATOMY = ("t1w", "t1w_mask", "t1w_to_template")
USED = {"anat": ANATOMY, "dwi": (*ANATOMY, "dwi", "bval", "bvec", "dwi_mask", "maps")}
"""Folder of a file to the kinds of scans that went into it."""


class _WriteIn(BaseInterfaceInputSpec):
    out = traits.Str(mandatory=True, desc="output folder")
    participant_id = traits.Str(mandatory=True)
    session_id = traits.Either(None, traits.Str)
    sources = traits.Dict(desc="kind of scan to its paths, as the worklist spells them")
    correctors = traits.List(traits.Str, desc="scans by which distortion was corrected, as URIs")
    acquisition = traits.Dict({}, usedefault=True, desc="kind of scan to fields of its sidecar")
    taken_over = traits.Dict({}, usedefault=True, desc="step that others have done to who did it")
    runs = File(exists=True, desc="JSON: what was done with several runs of the T1w")
    provenance = traits.Dict(desc="the choices this participant was prepared with")
    route = traits.Enum(*ROUTES, usedefault=True, desc="of the diffusion maps")
    t1w = File(exists=True)
    mask = File(exists=True)
    t1w_template = File(exists=True)
    mask_template = File(exists=True)
    about = File(exists=True, desc="JSON: input of this node to what its sidecar says as well")
    forward = File(exists=True)
    inverse = File(exists=True)
    t1w_acpc = File(exists=True)
    mask_acpc = File(exists=True)
    acpc_transform = File(exists=True)
    t1w_affine = File(exists=True)
    affine_transform = File(exists=True)
    dseg = File(exists=True)
    probsegs = InputMultiObject(File(exists=True), desc="LABEL.nii.gz, one per tissue")
    tables = InputMultiObject(File(exists=True), desc="ATLAS.tsv, region measures")
    dwi = File(exists=True)
    bval = File(exists=True)
    bvec = File(exists=True)
    dwi_mask = File(exists=True)
    covered_t1w = File(exists=True)
    covered_dwi = File(exists=True)
    sides_known = traits.Bool(True, usedefault=True, desc="headers tell left from right")
    distortion_warp = File(exists=True)
    distortion_warps = InputMultiObject(File(exists=True), desc="one per phase encoding")
    dwi_transform = File(exists=True)
    maps = InputMultiObject(File(exists=True))
    maps_template = InputMultiObject(File(exists=True))
    figures = InputMultiObject(File(exists=True))
    figure_names = traits.List(traits.Str)
    quality = File(exists=True, mandatory=True)
    made_from = traits.Dict({}, usedefault=True, desc="input to its size and sha256")
    note = traits.Str("", usedefault=True, desc="what was chosen, left out or found wanting")
    plan = traits.Str("", usedefault=True, desc="digest of sidecars and corrections")


class _WriteOut(TraitedSpec):
    out_file = File(exists=True, desc="the quality file, which marks the session as finished")


class WriteDerivatives(SimpleInterface):
    """Copy the results of the workflow to their BIDS names, each with a sidecar."""

    input_spec, output_spec = _WriteIn, _WriteOut
    always_run = True  # its outputs lie outside the work folder, where they may have been removed

    def _run_interface(self, runtime):
        inputs, self._written = self.inputs, {}
        self.template = inputs.provenance["template"]
        self.resolution = inputs.provenance["resolution"]
        extra = json.loads(Path(inputs.about).read_text()) if _given(inputs.about) else {}
        for kind, entry in SINGLE.items():
            if _given(getattr(inputs, kind)):
                path = getattr(inputs, kind)
                self._put(path, _form(entry, path), self._about(kind) | extra.get(kind, {}))
        for number, path in enumerate(_listed(inputs.distortion_warps), start=1):
            self._put(path, "distortion_warp_of_part", WARP_OF_PART, from_=f"distorted{number}")
        if _given(inputs.dwi_transform):
            entry = "dwi_to_t1w" if inputs.route == "t1w" else "dwi_to_template"
            self._put(inputs.dwi_transform, _form(entry, inputs.dwi_transform), {})
        for place in ("native", "template"):
            paths = inputs.maps if place == "native" else inputs.maps_template
            for path in paths if _given(paths) else []:
                self._put_map(Path(path), place)
        self._put_measures()
        for path, name in zip(inputs.figures or [], inputs.figure_names or [], strict=True):
            if Path(path).stat().st_size:  # an empty one says that there was nothing to draw
                self._copy(path, Path(inputs.participant_id, "figures", name))
        self._results["out_file"] = str(self._finish())
        return runtime

    def _about(self, kind):
        """Return the sidecar fields of a file; another tool may have made it."""
        content = dict(self.inputs.acquisition.get(kind, {})) | ABOUT.get(kind, {})
        step = {"mask": "brain mask of the T1w", "dwi_mask": "brain mask of the diffusion series"}
        giver = self.inputs.taken_over.get(step.get(kind))
        if giver:
            content["Description"] = f"Brain mask as {giver} gives it"
        if kind == "t1w" and self.inputs.sources.get("t1w", "").endswith("_brain.nii.gz"):
            content["SkullStripped"] = True
        return content

    def _used(self, folder):
        """List the kinds of scans that went into the files of a folder."""
        kinds = USED[folder]
        alone = folder == "dwi" and self.inputs.route in ("fa", "b0")
        return [kind for kind in kinds if kind not in ANATOMY] if alone else kinds

    def _entities(self, entry):
        """Return the values of the open entities of a file name."""
        space = {
            "space": self.template,
            "res": number_label(self.resolution),
            "to": self.template,
            "from": self.template,
        }
        if entry in ("t1w_acpc", "t1w_acpc_mask"):
            space["res"] = number_label(self.inputs.provenance["native_resolution"])
        open_ = [key for key, value in names()[entry]["entities"].items() if value == "*"]
        return {("from_" if key == "from" else key): space[key] for key in open_ if key in space}

    def _put(self, source, entry, about, **entities):
        """Copy one file to its name and write its sidecar."""
        inputs = self.inputs
        path = derivative(
            entry,
            inputs.participant_id,
            inputs.session_id or None,
            **(self._entities(entry) | entities),
        )
        self._copy(source, path)
        if path.name.endswith((".bval", ".bvec", "_dseg.tsv")):  # an image beside it has one
            return
        used = [inputs.sources.get(kind) for kind in self._used(path.parent.name)]
        sources = [as_uri(name) for cell in used for name in paths(cell)]
        sources += _listed(inputs.correctors) if path.parent.name == "dwi" else []
        content = dict(about) | {
            "Sources": list(dict.fromkeys(sources)),
            "GeneratedWith": dict(inputs.provenance),
            "Versions": versions(),
        }
        if not inputs.sides_known:
            content["LeftRight"] = (
                "unknown: the header of a scan tells no orientation (qform and sform codes are 0)"
            )
        if inputs.taken_over:
            content["TakenOver"] = dict(inputs.taken_over)
        if "space-" in path.name:
            content["SpatialReference"] = self.template
            native = inputs.provenance["native_resolution"]
            size = native if "space-ACPC" in path.name else self.resolution
            content["Resolution"] = f"{size:g} mm isotropic"
        write_json(content, sidecar(Path(inputs.out, path)))
        self._note(sidecar(path))

    def _copy(self, source, name):
        """Copy a file to its name in the output folder, unless the same file is there already."""
        target = Path(self.inputs.out, name)
        if not (target.is_file() and filecmp.cmp(source, target, shallow=False)):
            with whole(target) as part:
                shutil.copyfile(source, part)
                check_written(part)
        self._note(name)

    def _note(self, name):
        """Record that a file was written, and its size."""
        self._written[Path(name).as_posix()] = Path(self.inputs.out, name).stat().st_size

    def _put_measures(self):
        """Copy tissue probabilities and region tables."""
        from bids_sexclf.anatomy.morphometry import TISSUES, tissue_labels
        from bids_sexclf.tables import schema, write_tsv

        inputs = self.inputs
        for path in inputs.probsegs if _given(inputs.probsegs) else []:
            tissue = Path(path).name.split(".")[0]
            about = {"Description": f"Probability of {TISSUES[tissue].lower()} by T1w intensity"}
            self._put(path, "t1w_probseg", about, label=tissue)
        if _given(inputs.dseg):
            entry = derivative("t1w_dseg_labels", inputs.participant_id, inputs.session_id or None)
            write_tsv(tissue_labels(), Path(inputs.out, entry))
            self._note(entry)
        for path in inputs.tables if _given(inputs.tables) else []:
            # pybids takes a key "atlas" of a sidecar for the entity, which the name tells already.
            about = {key: text for key, text in schema("morphometry").items() if key != "atlas"}
            self._put(path, "morphometry", about, atlas=Path(path).stem)

    def _put_map(self, source, place):
        """Copy one diffusion map with its meaning, units, range and source."""
        from bids_sexclf.diffusion.families import BY_LABEL, FAMILIES, engine_of
        from bids_sexclf.participant import register

        inputs, choices = self.inputs, self.inputs.provenance
        label, name = source.name.removeprefix("carried_").split(".")[0].split("_")
        model = BY_LABEL[label]
        family = FAMILIES[model]
        record = family.records[name]
        about = {
            "Model": family.title,
            "Description": record.description,
            "Units": record.units,
            "Range": list(record.range),
            "Reference": f"https://doi.org/{record.source}",
            "Fit": inputs.taken_over.get(
                "diffusion maps", family.words[engine_of(model, choices["fit_engine"])]
            ),
        }
        if model == "kurtosis":
            about["Clip"] = list(choices["kurtosis_clip"])
        if place == "template":
            about["Normalization"] = register.methods(inputs.route, choices)
        self._put(source, f"{model}_{place}", about, param=name.lower())

    def _finish(self):
        """Write report and quality file: from now on the session counts as finished."""
        from bids_sexclf.participant.report import write_report

        inputs = self.inputs
        session = inputs.session_id or None
        numbers = json.loads(Path(inputs.quality).read_text())
        if inputs.sources.get("dwi") or inputs.sources.get("maps"):
            numbers["dwi_route"] = inputs.route
        page = write_report(
            inputs.out,
            inputs.participant_id,
            session,
            numbers=numbers,
            provenance=inputs.provenance,
            sources=inputs.sources,
            note=inputs.note,
        )
        self._written[page.name] = None  # it may be written again, and then have another size
        path = Path(inputs.out, derivative("quality", inputs.participant_id, session))
        self._remove_older(path)
        fixed = [name for name, size in self._written.items() if size is not None]
        record_outputs(inputs.participant_id, session, fixed, inputs.out)
        about = {"GeneratedWith": dict(inputs.provenance), "Scans": dict(inputs.sources)}
        about |= {"TakenOver": dict(inputs.taken_over), "Note": inputs.note}
        about |= {"Plan": inputs.plan, "Inputs": dict(inputs.made_from)}
        about["Outputs"] = dict(sorted(self._written.items()))
        if _given(inputs.runs):
            about["Runs"] = json.loads(Path(inputs.runs).read_text())
        write_json(numbers | about | {"Versions": versions()}, path)
        return path

    def _remove_older(self, quality):
        """Remove recorded files of an earlier run that this run has not written."""
        before = read_object(quality).get("Outputs")
        older = set(before if isinstance(before, dict) else ()) - set(self._written)
        remove_outputs(self.inputs.out, self.inputs.participant_id, dict.fromkeys(older))


def _listed(values):
    """Return a list; an empty one where the input is undefined."""
    return list(values) if _given(values) else []


def _form(entry, path):
    """Return the name entry of a transform by its file type: composite, or a field."""
    field = f"{entry}_field"
    return field if field in names() and str(path).endswith(".nii.gz") else entry
