"""Derivatives of one participant-session, written whole, the quality file last."""

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

from bids_sexclf.disk import whole, write_json
from bids_sexclf.layout import derivative, names, number_label, sidecar, versions

SINGLE = {
    "t1w": "t1w_preproc",
    "mask": "t1w_mask",
    "t1w_template": "t1w_template",
    "mask_template": "t1w_template_mask",
    "forward": "t1w_to_template",
    "inverse": "template_to_t1w",
    "dwi": "dwi_preproc",
    "bval": "dwi_bval",
    "bvec": "dwi_bvec",
    "dwi_mask": "dwi_mask",
}
"""Input of the node to its entry in ``data/names.json``."""

ABOUT = {
    "t1w": {"Description": "T1w without bias field, RAS+ axes", "SkullStripped": False},
    "mask": {"Type": "Brain", "Description": "Brain mask on the T1w"},
    "t1w_template": {"Description": "Brain on the group grid", "SkullStripped": True},
    "mask_template": {"Type": "Brain", "Description": "Brain mask on the group grid"},
    "dwi": {"Description": "Aligned diffusion volumes", "SkullStripped": False},
    "dwi_mask": {"Type": "Brain", "Description": "Brain mask on the mean b=0 volume"},
}


class _WriteIn(BaseInterfaceInputSpec):
    out = traits.Str(mandatory=True, desc="output folder")
    participant_id = traits.Str(mandatory=True)
    session_id = traits.Either(None, traits.Str)
    sources = traits.Dict(desc="kind of scan to its path in the dataset")
    provenance = traits.Dict(desc="the choices this participant was prepared with")
    road = traits.Enum("t1w", "fa", "b0", usedefault=True, desc="of the diffusion maps")
    t1w = File(exists=True)
    mask = File(exists=True)
    t1w_template = File(exists=True)
    mask_template = File(exists=True)
    about = File(exists=True, desc="JSON: input of this node to what its sidecar says as well")
    forward = File(exists=True)
    inverse = File(exists=True)
    dwi = File(exists=True)
    bval = File(exists=True)
    bvec = File(exists=True)
    dwi_mask = File(exists=True)
    dwi_transform = File(exists=True)
    maps = InputMultiObject(File(exists=True))
    maps_template = InputMultiObject(File(exists=True))
    figures = InputMultiObject(File(exists=True))
    figure_names = traits.List(traits.Str)
    quality = File(exists=True, mandatory=True)


class _WriteOut(TraitedSpec):
    out_file = File(exists=True, desc="the quality file, which marks the session as finished")


class WriteDerivatives(SimpleInterface):
    """Copy what the workflow made to its BIDS names, each with a sidecar."""

    input_spec, output_spec = _WriteIn, _WriteOut

    def _run_interface(self, runtime):
        given = self.inputs
        self.template = given.provenance["template"]
        self.resolution = given.provenance["resolution"]
        more = json.loads(Path(given.about).read_text()) if _given(given.about) else {}
        for kind, entry in SINGLE.items():
            if _given(getattr(given, kind)):
                path = getattr(given, kind)
                about = ABOUT.get(kind, {}) | more.get(kind, {})
                self._put(path, _form(entry, path), about)
        if _given(given.dwi_transform):
            entry = "dwi_to_t1w" if given.road == "t1w" else "dwi_to_template"
            self._put(given.dwi_transform, _form(entry, given.dwi_transform), {})
        for place in ("native", "template"):
            paths = given.maps if place == "native" else given.maps_template
            for path in paths if _given(paths) else []:
                self._put_map(Path(path), place)
        for path, name in zip(given.figures or [], given.figure_names or [], strict=True):
            target = Path(given.out, given.participant_id, "figures", name)
            with whole(target) as part:
                shutil.copyfile(path, part)
        self._results["out_file"] = str(self._finish())
        return runtime

    def _entities(self, entry):
        """Fill the open entities of a name."""
        space = {
            "space": self.template,
            "res": number_label(self.resolution),
            "to": self.template,
            "from": self.template,
        }
        open_ = [key for key, value in names()[entry]["entities"].items() if value == "*"]
        return {("from_" if key == "from" else key): space[key] for key in open_ if key in space}

    def _put(self, source, entry, about, **entities):
        """Copy one file to its name and write its sidecar."""
        given = self.inputs
        path = derivative(
            entry,
            given.participant_id,
            given.session_id or None,
            **self._entities(entry),
            **entities,
        )
        with whole(Path(given.out, path)) as part:
            shutil.copyfile(source, part)
        if path.name.endswith((".bval", ".bvec")):
            return
        kind = "dwi" if path.parent.name == "dwi" else "t1w"
        used = [
            given.sources[k]
            for k in ("t1w", "dwi")
            if given.sources.get(k) and (k == kind or (k == "t1w" and given.road == "t1w"))
        ]
        content = dict(about) | {
            "Sources": [f"bids:raw:{name}" for name in used],
            "GeneratedWith": dict(given.provenance),
            "Versions": versions(),
        }
        if "space-" in path.name:
            content["SpatialReference"] = self.template
            content["Resolution"] = f"{self.resolution:g} mm isotropic"
        write_json(content, sidecar(Path(given.out, path)))

    def _put_map(self, source, place):
        """Copy one diffusion map with its meaning, units, range and source."""
        from bids_sexclf.diffusion import kurtosis, tensor
        from bids_sexclf.participant import register

        model, name = source.name.removeprefix("carried_").split(".")[0].split("_")
        records = {r.name: r for r in (tensor.MAPS if model == "tensor" else kurtosis.MAPS)}
        record = records[name]
        about = {
            "Model": {"tensor": "Diffusion tensor", "dki": "Diffusion kurtosis"}[model],
            "Description": record.description,
            "Units": record.units,
            "Range": list(record.range),
            "Reference": f"https://doi.org/{record.source}",
            "Fit": "weighted least squares",
        }
        if model == "dki":
            about["Clip"] = list(self.inputs.provenance["kurtosis_clip"])
        if place == "template":
            about["Normalization"] = register.methods(self.inputs.road, self.inputs.provenance)
        entry = f"{'kurtosis' if model == 'dki' else 'tensor'}_{place}"
        self._put(source, entry, about, param=name.lower())

    def _finish(self):
        """Write report and quality file: from now on the session counts as finished."""
        from bids_sexclf.participant.report import write_report

        given = self.inputs
        session = given.session_id or None
        numbers = json.loads(Path(given.quality).read_text())
        if given.sources.get("dwi"):
            numbers["dwi_road"] = given.road
        write_report(
            given.out,
            given.participant_id,
            session,
            numbers=numbers,
            provenance=given.provenance,
            sources=given.sources,
        )
        path = Path(given.out, derivative("quality", given.participant_id, session))
        about = {"GeneratedWith": dict(given.provenance), "Scans": dict(given.sources)}
        write_json(numbers | about | {"Versions": versions()}, path)
        return path


def _form(entry, path):
    """Give the entry of a transform in the form it was found in: composite, or a field."""
    field = f"{entry}_field"
    return field if field in names() and str(path).endswith(".nii.gz") else entry
