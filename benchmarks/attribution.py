"""Measure how fast models are asked about regions, and how fast regions are tested.

    python benchmarks/attribution.py [--only slices networks masks flips differences]
        [--regions 48] [--atlas IMAGE] [--plain 3] [--steps 4]

One thread; seconds are processor seconds, so that other work on the machine does not count.

* `slices`: `region_occlusion` of `slice_resnet18` at 180 x 224 x 224 over 48 regions, where only
  touched slabs pass again, against one whole pass for each region: Captum's FeatureAblation where
  it is installed, or else a plain loop. The latter is timed over the first PLAIN regions, whose
  numbers are compared, and scaled to all. Without an atlas of labels regions are boxes 20 voxels
  wide from left to right, as wide as those of the JHU atlas are in the mean.
* `networks`: the same for `cnn3` (58 x 70 x 58) and `resnet10` (64 x 64 x 64).
* `masks`: meaningful perturbation of eight volumes by `cnn3`, together and one by one, with STEPS
  steps of two draws.
* `flips`: 10,000 sign flips of 1,000 people by 246 regions.
* `differences`: whether 246 regions of 60 voxels differ between 1,000 people, with 1,999 deals, and
  how much memory arrays take at their highest.
"""

import argparse
import time
import tracemalloc

import numpy as np
import torch

from bids_sexclf import attribution, models
from bids_sexclf.attribution import View
from bids_sexclf.fills import Replacement
from bids_sexclf.models.slice_resnet18 import THICKNESS
from bids_sexclf.settings import Study
from bids_sexclf.training.networks import Evidence

REGIONS, WIDE = 48, 20
PEOPLE, TESTED, FLIPS, DEALS = 1000, 246, 10_000, 1999
VOXELS = 60
GRIDS = {"slice_resnet18": (180, 224, 224), "cnn3": (58, 70, 58), "resnet10": (64, 64, 64)}


def make_model(name):
    """Make a classifier with fresh weights that is taken for a fitted one."""
    torch.manual_seed(0)
    model = models.find(name).Classifier(Study())
    model.grid, model.channels = GRIDS[name], 1
    network = models.build(name, grid=GRIDS[name])
    model.module = Evidence(network, np.float32(0), np.float32(1)).eval()
    return model


def draw_boxes(grid, count, wide=WIDE):
    """Draw an atlas of boxes; a later one covers an earlier one."""
    rng, labels = np.random.default_rng(0), np.zeros(grid, int)
    wide = min(wide, min(grid) // 3)
    for index in range(1, count + 1):
        corner = [rng.integers(0, length - wide) for length in grid]
        labels[tuple(slice(start, start + wide) for start in corner)] = index
    return labels


def fit_atlas(path, grid):
    """Bring the labels of an image to a grid: cut, or filled up with background, on both sides."""
    from bids_sexclf.volumes import load

    labels = np.rint(load(path, ndim=3)[0]).astype(int)
    for axis, length in enumerate(grid):
        more = length - labels.shape[axis]
        ends = [(0, 0)] * 3
        ends[axis] = (max(more, 0) // 2, max(more, 0) - max(more, 0) // 2)
        labels = np.pad(labels, ends)
        start = (labels.shape[axis] - length) // 2
        labels = labels.take(range(start, start + length), axis)
    return labels


def ask_plainly(model, volume, labels, regions):
    """Hide regions one by one with whole passes; return what each costs."""
    whole = torch.from_numpy(volume)[None]
    try:
        from captum.attr import FeatureAblation
    except ImportError:
        with torch.inference_mode():
            before = model.module(whole)
            hidden = (whole * ~_where(labels, one) for one in regions)
            values = [before - model.module(one) for one in hidden]
        return torch.cat(values).double().numpy(), "plain loop"
    asked = np.where(np.isin(labels, regions), labels, 0)
    mask = torch.from_numpy(np.searchsorted(np.unique(asked), asked))[None]
    with torch.inference_mode():
        told = FeatureAblation(model.module).attribute(whole, feature_mask=mask)[0].numpy()
    return np.array([told[labels == one][0] for one in regions], float), "Captum"


def _where(labels, region):
    return torch.from_numpy(labels == region)[None]


def seconds(function, *given):
    """Call a function; return what it returns and the processor seconds it takes."""
    started = time.process_time()
    answer = function(*given)
    return answer, time.process_time() - started


def measure_occlusion(name, options):
    """Print how long hiding all regions takes in both ways."""
    model, grid = make_model(name), GRIDS[name]
    if options.atlas:
        labels = fit_atlas(options.atlas, grid)
    else:
        labels = draw_boxes(grid, options.regions)
    volume = np.random.default_rng(1).standard_normal(grid).astype(np.float32)
    view = View(
        model.evidence,
        np.ones(grid, bool),
        labels,
        lambda whole, row: [Replacement(0 * whole)],
        model.module,
        near=model.near,
    )
    index = attribution.find_regions(labels)
    plain = index[: options.plain]
    values, slow = seconds(lambda: ask_plainly(model, volume, labels, plain))
    values, how = values
    slow *= (len(index) + 1) / (len(plain) + 1)  # the volume as it is passes, too
    (answer,), fast = seconds(
        lambda: list(attribution.attribute("region_occlusion", volume[None], view))
    )
    difference = np.abs(answer.values[0, : len(plain)] - values).max()
    relative = difference / np.abs(values).max()
    print(
        f"| {name} | {len(index)} | {how} {slow:.1f} s | {fast:.1f} s | {slow / fast:.1f} | "
        f"{relative:.0e} |"
    )
    if name == "slice_resnet18":
        cut = -(-grid[0] // THICKNESS)
        touched = sum(
            len(np.unique(np.nonzero((labels == one).any((1, 2)))[0] // THICKNESS)) for one in index
        )
        print(f"\n{touched} of {cut * len(index)} slabs are touched, and {cut} pass at first.\n")


def measure_masks(options):
    """Print how long masks take together and one by one."""
    model, rng = make_model("cnn3"), np.random.default_rng(0)
    rows = rng.standard_normal((8, *GRIDS["cnn3"])).astype(np.float32)
    view = View(model.evidence, np.ones(GRIDS["cnn3"], bool), module=model.module)
    for fidelity in ("paper", "code"):
        taken = {}
        for count in (1, 8):
            given = {"fidelity": fidelity, "steps": options.steps, "draws": 2, "at_once": count}
            _, taken[count] = seconds(
                lambda given=given: list(
                    attribution.attribute("meaningful_perturbation", rows, view, **given)
                )
            )
        print(
            f"masks, {fidelity}: one by one {taken[1]:.1f} s, eight together {taken[8]:.1f} s, "
            f"ratio {taken[1] / taken[8]:.2f}"
        )


def measure_flips(options):
    """Print how long sign flips take."""
    from bids_sexclf.stats.regional import signflip

    drops = np.random.default_rng(0).standard_normal((PEOPLE, TESTED))
    _, taken = seconds(lambda: signflip(drops, n=FLIPS))
    print(f"{FLIPS} sign flips, {PEOPLE} people, {TESTED} regions: {taken:.1f} s")


def measure_differences(options):
    """Print how long claim A takes, and its memory."""
    from bids_sexclf.stats.differences import Regions
    from bids_sexclf.stats.exchangeable import deal_sexes

    rng = np.random.default_rng(0)
    sex = np.arange(PEOPLE) % 2

    def test(count):
        tests = Regions(deal_sexes(sex, n=DEALS))
        for _ in range(count):
            tests.add(rng.standard_normal((PEOPLE, VOXELS), dtype=np.float32))
        return tests.finish()

    for count in (8, TESTED):
        _, taken = seconds(test, count)
        tracemalloc.start()  # slows the call down, so it is not the one that is timed
        test(count)
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        print(
            f"{count} regions of {VOXELS} voxels, {PEOPLE} people, {DEALS} deals: {taken:.1f} s, "
            f"at most {peak:.0f} MiB"
        )


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = ["slices", "networks", "masks", "flips", "differences"]
    parser.add_argument("--only", nargs="+", default=known, choices=known)
    parser.add_argument("--atlas", help="image of labels, 1 mm")
    parser.add_argument("--regions", type=int, default=REGIONS, help="boxes, where no atlas is")
    parser.add_argument("--plain", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if {"slices", "networks"} & set(options.only):
        print(
            "| network | regions | whole passes | here | ratio | difference |\n" + "|---" * 6 + "|"
        )
    for name in ["slice_resnet18"] * ("slices" in options.only):
        measure_occlusion(name, options)
    for name in ["cnn3", "resnet10"] * ("networks" in options.only):
        measure_occlusion(name, argparse.Namespace(**vars(options) | {"atlas": None}))
    rest = {"masks": measure_masks, "flips": measure_flips, "differences": measure_differences}
    for part, measure in rest.items():
        if part in options.only:
            measure(options)


if __name__ == "__main__":
    main()
