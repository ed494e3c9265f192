"""Brain extraction: with a template's head, or by taking over what is already stripped."""

import json
from pathlib import Path

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bids_sexclf.anatomy.brain import carried_mask, distance_outside, is_stripped, stripped_mask
from bids_sexclf.interfaces.ants import antspyx, find_affine
from bids_sexclf.interfaces.fsl import Bet
from bids_sexclf.interfaces.greedy import RECIPES, deform, describe, template_for
from bids_sexclf.volumes import load, save

REACH = 14.0
"""How far outside the template's brain mask the head is looked at while it is registered, mm."""

MEANINGS = {
    "template": "Brain and the fluid between its folds, as the template's mask draws it; not all "
    "that lies within the skull",
    "bet": "Brain and most of the fluid around it, as FSL's bet draws it",
    "stripped": "What the scan held: it came with its skull already stripped",
}


class _ExtractIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="T1w without bias field")
    head = File(exists=True, mandatory=True, desc="template with skull")
    head_mask = File(exists=True, mandatory=True, desc="the template's brain mask")
    brain = File(exists=True, mandatory=True, desc="the template's brain")
    skull_strip = traits.Enum("auto", "force", "skip", usedefault=True)
    method = traits.Enum("template", "bet", usedefault=True)
    recipe = traits.Enum("head", "sloppy", usedefault=True)
    seed = traits.Int(1, usedefault=True)
    threads = traits.Int(1, usedefault=True)


class _ExtractOut(TraitedSpec):
    out_file = File(exists=True, desc="the brain")
    mask_file = File(exists=True)
    head = File(exists=True, desc="the scan, where it holds more than the brain")
    affine = File(exists=True, desc="to the template, linear")
    about = File(exists=True, desc="JSON: what sidecars say about T1w and mask")


class ExtractBrain(SimpleInterface):
    """Mask the brain of a T1w, unless it came without its skull; find its linear transform."""

    input_spec, output_spec = _ExtractIn, _ExtractOut

    def _run_interface(self, runtime):
        given = self.inputs
        t1w, affine = load(given.in_file, ndim=3)
        stripped = given.skull_strip == "skip" or (
            given.skull_strip == "auto" and is_stripped(t1w, np.linalg.norm(affine[:3, :3], axis=0))
        )
        way = "stripped" if stripped else given.method
        mask, linear = getattr(self, f"_{way}")(t1w, runtime.cwd)
        about = {
            "t1w": {"SkullStripped": stripped},
            "mask": {"Type": "Brain", "Description": MEANINGS[way]},
        }
        if way == "template":
            about["mask"]["Registration"] = describe(given.recipe)
        files = {"mask_file": "mask.nii.gz", "out_file": "brain.nii.gz", "about": "about.json"}
        self._results |= {key: str(Path(runtime.cwd, name)) for key, name in files.items()}
        self._results["affine"] = linear
        if not stripped:
            self._results["head"] = given.in_file
        save(mask, affine, self._results["mask_file"])
        save(t1w * mask, affine, self._results["out_file"])
        Path(self._results["about"]).write_text(json.dumps(about))
        return runtime

    def _linear(self, fixed, moving, folder):
        """Find the linear transform to a template; give its file."""
        ants = antspyx(self.inputs.seed)
        images = (ants.image_read(str(path)) for path in (fixed, moving))
        return find_affine(ants, *images, str(Path(folder, "linear_")))

    def _stripped(self, t1w, folder):
        brain = template_for(self.inputs.recipe, self.inputs.brain, folder)
        return stripped_mask(t1w), self._linear(brain, self.inputs.in_file, folder)

    def _bet(self, t1w, folder):
        found = Bet(in_file=self.inputs.in_file).run(cwd=folder).outputs
        brain = template_for(self.inputs.recipe, self.inputs.brain, folder)
        return load(found.mask_file, ndim=3)[0] > 0, self._linear(brain, found.out_file, folder)

    def _template(self, t1w, folder):
        import ants

        given = self.inputs
        head = template_for(given.recipe, given.head, folder)
        linear = self._linear(head, given.in_file, folder)
        inside, grid = load(given.head_mask, ndim=3)
        outside = distance_outside(inside > 0.5, np.linalg.norm(grid[:3, :3], axis=0))
        distance, near = (str(Path(folder, f"{name}.nii.gz")) for name in ("distance", "near"))
        save(outside, grid, distance)
        distance = ants.image_read(distance)
        close = ants.resample_image_to_target(distance, ants.image_read(head), "linear")
        close.new_image_like((close.numpy() < REACH).astype(np.float32)).to_filename(near)
        fields = deform(
            head,
            given.in_file,
            linear,
            str(Path(folder, "head_")),
            recipe=RECIPES[given.recipe],
            mask=near,
            seed=given.seed,
            threads=given.threads,
        )
        carried = ants.apply_transforms(
            ants.image_read(given.in_file),
            distance,
            [linear, fields[1]],
            whichtoinvert=[True, False],
            defaultvalue=REACH,
        )
        for path in fields:
            Path(path).unlink()  # large, and only the mask needed them
        return carried_mask(t1w, carried.numpy(), carried.spacing), linear
