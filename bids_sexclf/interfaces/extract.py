"""Brain extraction: compare two masks, try other orientations if they differ, or refuse."""

import json
from pathlib import Path

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from bids_sexclf.anatomy.brain import is_stripped, stripped_mask
from bids_sexclf.anatomy.opinions import LEAST_ALONE, LEAST_OPINIONS
from bids_sexclf.errors import InputError
from bids_sexclf.interfaces.ants import write_linear
from bids_sexclf.interfaces.greedy import describe
from bids_sexclf.interfaces.masks import Engines, ask, thin
from bids_sexclf.resources import find_weights
from bids_sexclf.volumes import load, save

MEANINGS = {
    "deepbet": "All that lies within the skull: brain and the fluid around it, as the network "
    "deepbet draws it",
    "template": "Brain and the fluid between its folds, as the template's mask draws it; not all "
    "that lies within the skull",
    "bet": "Brain and most of the fluid around it, as FSL's bet draws it",
    "stripped": "What the scan held: it came with its skull already stripped",
}


class _ExtractIn(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="T1w, axes RAS+")
    head = File(exists=True, mandatory=True, desc="template with skull")
    head_mask = File(exists=True, mandatory=True, desc="the template's brain mask")
    brain = File(exists=True, mandatory=True, desc="the template's brain")
    weights = InputMultiObject(File(exists=True), desc="of deepbet; the installed ones by default")
    skull_strip = traits.Enum("auto", "force", "skip", usedefault=True)
    method = traits.Enum("deepbet", "template", "bet", usedefault=True)
    recipe = traits.Enum("head", "sloppy", usedefault=True)
    seed = traits.Int(1, usedefault=True)
    threads = traits.Int(1, usedefault=True)


class _ExtractOut(TraitedSpec):
    out_file = File(exists=True, desc="the brain")
    mask_file = File(exists=True)
    head = File(exists=True, desc="the scan, where it holds more than the brain")
    affine = File(exists=True, desc="to the template, linear")
    about = File(exists=True, desc="JSON: what sidecars say about T1w and mask")
    evidence = File(exists=True, desc="JSON: numbers that speak for the mask, for quality.json")


class ExtractBrain(SimpleInterface):
    """Mask the brain of a T1w, unless it is already extracted; estimate its linear transform."""

    input_spec, output_spec = _ExtractIn, _ExtractOut

    def _run_interface(self, runtime):
        inputs = self.inputs
        t1w, affine = load(inputs.in_file, ndim=3)
        engines = self._engines(runtime.cwd)
        stripped = inputs.skull_strip == "skip" or (
            inputs.skull_strip == "auto"
            and is_stripped(t1w, np.linalg.norm(affine[:3, :3], axis=0))
        )
        if stripped:
            chosen, pair = take_stripped(engines, t1w, affine), None
        else:
            chosen, pair = find(engines, inputs.method, t1w, affine)
        mask = engines.draw(chosen, t1w, affine)
        files = {"mask_file": "mask.nii.gz", "out_file": "brain.nii.gz", "affine": "linear.mat"}
        files |= {"about": "about.json", "evidence": "evidence.json"}
        self._results |= {key: str(Path(runtime.cwd, name)) for key, name in files.items()}
        if not stripped:
            self._results["head"] = inputs.in_file
        write_linear(chosen.linear, self._results["affine"])
        save(mask, affine, self._results["mask_file"])
        save(t1w * mask, affine, self._results["out_file"])
        self._tell("about", self._about(chosen, stripped))
        self._tell("evidence", tell_evidence(chosen, pair))
        return runtime

    def _engines(self, folder):
        inputs = self.inputs
        weights = inputs.weights if isdefined(inputs.weights) else ()
        if not weights and inputs.skull_strip != "skip":
            weights = find_weights()
        return Engines(
            head=inputs.head, head_mask=inputs.head_mask, brain=inputs.brain, weights=weights,
            recipe=inputs.recipe, folder=folder, seed=inputs.seed, threads=inputs.threads,
        )  # fmt: skip

    def _about(self, chosen, stripped):
        mask = {"Type": "Brain", "Description": MEANINGS[chosen.engine]}
        if chosen.engine == "template":
            mask["Registration"] = describe(self.inputs.recipe)
        return {"t1w": {"SkullStripped": stripped}, "mask": mask}

    def _tell(self, key, content):
        Path(self._results[key]).write_text(json.dumps(content))


def take_stripped(engines, t1w, affine):
    """Return the mask of a scan without skull, if it is plausible as a brain.

    Parameters
    ----------
    engines : masks.Engines
    t1w : ndarray, shape (X, Y, Z)
    affine : ndarray, shape (4, 4)

    Returns
    -------
    masks.Candidate

    Raises
    ------
    InputError
        If it is not plausible.
    """
    mask, small = stripped_mask(t1w), thin(t1w, affine)
    candidate = engines.weigh("stripped", (mask, thin(mask, affine)[0] > 0.5), small)
    faults = candidate.evidence.faults()
    if faults or candidate.linear is None:
        raise InputError(
            f"Found a T1w that came without its skull and whose content does not look like a "
            f"brain: {'; '.join(faults)}. Look at the scan: the brain may be incomplete or of "
            "another contrast; if it has its skull, use --skull-strip force."
        )
    return candidate


def find(engines, first, t1w, affine):
    """Find the most plausible brain mask.

    Two engines each make a mask. If the masks agree and look like a brain, the first is used. If
    not, both engines run again with the scan in the most likely other orientations, unless the
    orientation is right and the brain itself is abnormal. Finally, a single mask is accepted
    against the other one if it agrees well with the template.

    Parameters
    ----------
    engines : masks.Engines
    first : {"deepbet", "template", "bet"}
    t1w : ndarray, shape (X, Y, Z)
        Axes RAS+.
    affine : ndarray, shape (4, 4)

    Returns
    -------
    chosen : masks.Candidate
    pair : masks.Pair
        Both masks.

    Raises
    ------
    InputError
        If no mask is plausible; it names the numbers of the best one.
    """
    pairs = [ask(engines, first, t1w, affine)]
    if not is_settled(pairs[0]) and not lies_right(pairs[0]):
        for turn in engines.likely_turns(t1w, affine):
            pairs.append(ask(engines, first, t1w, affine, turn))
            if is_settled(pairs[-1]):
                break
    if is_settled(pairs[-1]):
        return pairs[-1].first, pairs[-1]
    candidates = [(candidate, pair) for pair in pairs for candidate in (pair.first, pair.second)]
    alone = [(candidate, pair) for candidate, pair in candidates if stands_alone(candidate)]
    chosen, pair = max(alone or candidates, key=lambda entry: entry[0].evidence.support)
    if not alone:
        raise InputError(refusal(chosen, pair, len(pairs)))
    return chosen, pair


def is_settled(pair):
    """Return whether two masks agree and look like a brain."""
    return (
        pair.agreed >= LEAST_OPINIONS
        and pair.first.linear is not None
        and not pair.first.evidence.faults()
    )


def lies_right(pair):
    """Return whether both engines found the brain, so that another orientation cannot help."""
    agreed = pair.first.evidence.template_agreement
    return pair.agreed >= LEAST_OPINIONS and agreed >= LEAST_ALONE


def stands_alone(candidate):
    """Return whether a mask is accepted although the other one differs."""
    return (
        candidate.linear is not None
        and not candidate.evidence.faults()
        and candidate.evidence.template_agreement >= LEAST_ALONE
    )


def refusal(candidate, pair, starts):
    """Return the error message for a scan without a plausible mask."""
    faults = candidate.evidence.faults()
    if pair.agreed < LEAST_OPINIONS:
        faults.insert(
            0,
            f"overlap of {pair.first.engine} with {pair.second.engine} {pair.agreed:.2f} (needed "
            f"at least {LEAST_OPINIONS:.2f}, or agreement with the template of "
            f"{LEAST_ALONE:.2f})",
        )
    return (
        f"Found no plausible brain mask in {starts} orientation{'s' * (starts > 1)}; of the best "
        f"one ({candidate.engine}): {'; '.join(faults)}. Look at the scan: it may show only a "
        "part of the brain, have another contrast than T1w, or have lost its header. Mend or "
        "exclude it, or mask it by hand and give scan and mask as a derivative."
    )


def tell_evidence(candidate, pair):
    """Return the numbers by which a mask is judged, with the keys of quality.json.

    Parameters
    ----------
    candidate : masks.Candidate
    pair : masks.Pair or None
        None for a stripped scan.

    Returns
    -------
    dict of str to float or str
    """
    numbers = candidate.evidence
    values = {
        "mask_engine": candidate.engine,
        "mask_template_overlap": numbers.template_overlap,
        "mask_template_agreement": numbers.template_agreement,
        "mask_symmetry": numbers.symmetry,
        "mask_stretch": numbers.stretch,
        "mask_cut_cm2": numbers.cut_cm2,
    }
    if pair is not None:
        values |= {"mask_opinions_overlap": pair.agreed, "mask_turned_degrees": pair.turned_degrees}
    return {
        key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()
    }
