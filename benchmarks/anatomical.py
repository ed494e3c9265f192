"""Compare ways of registering T1w scans to MNI space, and brain masks with labels.

    python benchmarks/anatomical.py BIDS LABELS [--participants IXI012 IXI013 IXI014]
        [--recipes ours-accurate syn-cc] [--templates-dir DIR] [--threads 2] [--keep DIR]
    python benchmarks/anatomical.py BIDS LABELS --masks --participants ...

BIDS holds one T1w per participant, LABELS the folder of sub-*/anat/*_dseg.nii.gz on the scans'
grids; where a participant has none, times alone are compared. N4 is made once per participant,
outside every time below but printed; each recipe then starts from the same bias-corrected scan,
finds its own linear transform, and runs in a process of its own with the same number of threads:

ours-accurate   brain extraction, then Greedy's cross-correlation: --registration accurate
ours-fast       the same with --registration fast
syn-mi          antspyx "SyN": mutual information, (40, 20, 0), whole head to the template's head
quick           antspyx "antsRegistrationSyNQuick[s]": mutual information, whole head
syn-cc          antspyx "antsRegistrationSyN[s]": cross-correlation, whole head
brain-syn-cc    the same from our extracted brain to the template's brain: the brain's extraction
                is not in its time

Labels are carried to the template's brain with nearest neighbour; agreement is the Dice overlap
of every region that two participants share, averaged over regions, then over pairs. It is given
twice: every region counting alike, and each as its size. The processor time is what counts where
others use the machine too; both it and the clock are printed, with their ratios to syn-cc where it
ran. ``fields that fold`` is the share of the template's brain where the Jacobian determinant is
not positive. With --keep, results stay in a folder, and what lies there is not made again: a long
comparison can be stopped and taken up.

With --masks, brains are extracted by the network deepbet and by carrying the template's mask, and
the table gives the Dice overlap of each mask with labels > 0 (all that lies within the skull) and
with labels > 1 (without the fluid, which is label 1), and by how many percent of labels > 0 the
mask is smaller; with FSL's robustfov and bet -R beside them where they are on the PATH.
"""

import argparse
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RECIPES = ("ours-accurate", "ours-fast", "syn-mi", "quick", "syn-cc", "brain-syn-cc")
MASKS = ("deepbet", "template", "bet")
NAMES = {"syn-mi": "SyN", "quick": "antsRegistrationSyNQuick[s]"}


def agreement(first, second, by_size=False):
    """Give the mean Dice overlap of the regions that two label volumes share.

    By size, each region weighs as its voxels in both.
    """
    size = int(max(first.max(), second.max())) + 1
    one, other, both = (
        np.bincount(labels.ravel(), minlength=size)[1:]
        for labels in (first, second, first[first == second])
    )
    shared = (one > 0) & (other > 0)
    sizes = (one + other)[shared]
    return float(np.average(2 * both[shared] / sizes, weights=sizes if by_size else None))


def prepare(scan, template, folder):
    """Correct the bias field of a scan; give the file."""
    from bids_sexclf.interfaces.ants import BiasCorrect
    from bids_sexclf.interfaces.images import Conform

    turned = Conform(in_file=str(scan)).run(cwd=str(folder)).outputs.out_file
    return BiasCorrect(in_file=turned).run(cwd=str(folder)).outputs.out_file


def extract(scan, template, folder, threads, method="deepbet"):
    """Extract the brain; give the node's outputs."""
    from bids_sexclf.interfaces.extract import ExtractBrain

    given = {"head": template.head, "head_mask": template.mask, "brain": template.brain}
    node = ExtractBrain(
        in_file=str(scan),
        threads=threads,
        method=method,
        skull_strip="force",
        **{key: str(path) for key, path in given.items()},
    )
    return node.run(cwd=str(folder)).outputs


def register(recipe, scan, template, folder, threads):
    """Register one scan; give the forward transforms, the one that meets the template first."""
    from bids_sexclf.interfaces.ants import antspyx

    if recipe.startswith("ours"):
        from bids_sexclf.interfaces.greedy import Deform

        brain = extract(scan, template, folder, threads)
        node = Deform(
            in_file=brain.out_file,
            fixed=str(template.brain),
            initial=brain.affine,
            recipe=recipe.removeprefix("ours-"),
            threads=threads,
        )
        return [node.run(cwd=str(folder)).outputs.forward]
    ants = antspyx(1)
    fixed = template.brain if recipe == "brain-syn-cc" else template.head
    found = ants.registration(
        ants.image_read(str(fixed)),
        ants.image_read(str(scan)),
        NAMES.get(recipe, "antsRegistrationSyN[s]"),
        outprefix=str(Path(folder, "found_")),
        write_composite_transform=True,
    )
    return [found["fwdtransforms"]]


def folded(transforms, template):
    """Give the share of the template's brain where the deformation folds."""
    import ants

    brain, mask = (ants.image_read(str(path)) for path in (template.brain, template.mask))
    field = ants.apply_transforms(brain, brain, transforms, compose=tempfile.mktemp())
    determinant = ants.create_jacobian_determinant_image(brain, field)
    return float((determinant.numpy()[mask.numpy() > 0.5] <= 0).mean())


def carry(labels, transforms, template):
    """Carry labels to the template."""
    import ants

    return (
        ants.apply_transforms(
            ants.image_read(str(template.brain)),
            ants.image_read(str(labels)),
            transforms,
            interpolator="nearestNeighbor",
        )
        .numpy()
        .astype(int)
    )


def work(task):
    """Do one registration in this process: the body of a child."""
    from bids_sexclf.resources import find_template

    template = find_template(task["template"], task["templates_dir"])
    if task["recipe"] == "n4":
        return {"scan": prepare(task["scan"], template, task["folder"])}
    if task["recipe"] in MASKS:
        found = extract(task["scan"], template, task["folder"], task["threads"], task["recipe"])
        return {"scan": found.out_file, "mask": found.mask_file}
    transforms = register(task["recipe"], task["scan"], template, task["folder"], task["threads"])
    return {"transforms": transforms}


def child(task):
    """Run one task in a process of its own, unless it was; give its result with its times."""
    held = Path(task["folder"], f"{task['recipe']}-{task['threads']}.json")
    if held.exists():
        return json.loads(held.read_text())
    threads = str(task["threads"])
    setting = {
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": threads,
        "OMP_NUM_THREADS": threads,
        "NIPYPE_NO_ET": "1",
    }
    Path(task["folder"]).mkdir(parents=True, exist_ok=True)
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--task", json.dumps(task)],
        env=os.environ | setting,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    clock, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = json.loads(done.stdout.splitlines()[-1]) | {"clock": clock, "processor": spent}
    held.write_text(json.dumps(found))
    return found


def shared_choices(given):
    """Give what every task is told."""
    return {
        "template": given.template,
        "templates_dir": given.templates_dir and str(given.templates_dir),
        "threads": given.threads,
    }


def find_person(person, given, folder):
    """Find scan and labels of a participant, and correct the scan's bias field; give all three."""
    name, place = f"sub-{person}", Path(folder, person)
    scan = next((given.bids / name).rglob("*_T1w.nii.gz"))
    labels = next((given.labels / name).rglob("*_dseg.nii.gz"), None)
    task = {"recipe": "n4", "scan": str(scan), "folder": str(place)}
    first = child(shared_choices(given) | task)
    print(f"{name} N4 {first['processor']:.1f} s of processors", flush=True)
    return place, first["scan"], labels


def compare(given, folder):
    """Run every recipe on every participant, and print the table."""
    from bids_sexclf.resources import find_template

    template, shared = find_template(given.template, given.templates_dir), shared_choices(given)
    rows, carried = [], {recipe: [] for recipe in given.recipes}
    for person in given.participants:
        place, scan, labels = find_person(person, given, folder)
        for recipe in given.recipes:
            task = shared | {"recipe": recipe, "folder": str(place / recipe), "scan": scan}
            if recipe.startswith("brain-"):
                brain = {"recipe": "deepbet", "folder": str(place / "deepbet")}
                task["scan"] = child(task | brain)["scan"]
            done = child(task)
            folds = folded(done["transforms"], template)
            if labels:
                carried[recipe].append(carry(labels, done["transforms"], template))
            rows.append((recipe, done["processor"], done["clock"], folds))
            print(f"sub-{person} {recipe} {done['processor']:.1f} s", flush=True)
    report(given.recipes, rows, carried)


def overlap(first, second):
    """Give the Dice overlap of two masks."""
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def compare_masks(given, folder):
    """Extract every brain, and print how it overlaps with the labels."""
    import nibabel as nib

    rows = []
    fsl = shutil.which("bet") and shutil.which("robustfov")
    ways = [way for way in MASKS if fsl or way != "bet"]
    print("participant\tmask\tDice > 0\tDice > 1\tsmaller %\tprocessor s")
    for person in given.participants:
        place, scan, path = find_person(person, given, folder)
        labels = np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj)
        for way in ways:
            task = {"recipe": way, "folder": str(place / way), "scan": scan}
            done = child(shared_choices(given) | task)
            mask = np.asarray(nib.load(done["mask"]).dataobj) > 0
            smaller = 100 * (1 - mask.sum() / (labels > 0).sum())
            numbers = overlap(mask, labels > 0), overlap(mask, labels > 1), smaller
            rows.append((way, *numbers, done["processor"]))
            print(
                f"sub-{person}\t{way}\t" + "\t".join(f"{n:.3f}" for n in rows[-1][1:]), flush=True
            )
    for way in ways:
        held = np.array([row[1:] for row in rows if row[0] == way])
        for name in ("mean", "min", "max"):
            numbers = "\t".join(f"{n:.3f}" for n in getattr(held, name)(axis=0))
            print(f"{name} of {len(held)}\t{way}\t{numbers}")


def report(recipes, rows, carried):
    """Print one line per recipe."""
    mean = {
        recipe: np.mean([row[1:] for row in rows if row[0] == recipe], axis=0) for recipe in recipes
    }
    print(
        "recipe\tDice\tDice by size\tprocessor s\tclock s\tof syn-cc's processor\tfields that fold"
    )
    for recipe in recipes:
        pairs = list(itertools.combinations(carried[recipe], 2))
        dice, by_size = (
            np.mean([agreement(*pair, way) for pair in pairs]) if pairs else np.nan
            for way in (False, True)
        )
        ratio = mean[recipe][0] / mean["syn-cc"][0] if "syn-cc" in mean else np.nan
        spent, clock, folds = mean[recipe]
        print(
            f"{recipe}\t{dice:.3f}\t{by_size:.3f}\t{spent:.1f}\t{clock:.1f}\t{ratio:.2f}\t{folds:.5f}"
        )


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bids", type=Path, nargs="?")
    parser.add_argument("labels", type=Path, nargs="?")
    parser.add_argument("--participants", nargs="+", default=["IXI012", "IXI013", "IXI014"])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=RECIPES)
    parser.add_argument("--template", default="MNI152NLin6Asym")
    parser.add_argument("--templates-dir", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--masks", action="store_true")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task:
        print(json.dumps(work(json.loads(given.task))))
    elif given.bids and given.labels:
        with tempfile.TemporaryDirectory() as scratch:
            (compare_masks if given.masks else compare)(given, given.keep or scratch)
    else:
        parser.error("name the dataset and the folder of its labels")


if __name__ == "__main__":
    main()
