"""Ask what masked autoencoding gives a transformer that has few labels, on synthetic heads.

    python benchmarks/pretraining.py OUT [--labels 4 8 16] [--draws 8] [--encoders 2] [--first 0]
        [--arms scratch probe finetune ...] [--effect 4] [--noise 0.08] [--unlabelled 200]
        [--normalize]

The heads are those of benchmarks/heads.py. An encoder learns from 200 heads without their sex,
on slices and then on volumes. The first table gives its error on the hidden patches of 40 heads
that it has not seen, fresh and learnt, beside that of the mean of the 200. The unit is the variance
of the map, or with ``--normalize`` that of a patch, so that 1 is what the mean of each patch gives.
Then each arm learns sex from the same few heads, new ones: from scratch; by a linear probe of that
encoder; by fine-tuning it. 8 more choose the epoch. The second table gives the AUC over 200 further
heads, mean and range over draws, and how far it lies, draw by draw, from that of the better of the
arms from scratch. Each draw has its own labelled and tested heads and its own seed; draws share the
encoders. All arms have the same size and training choices, but for the learning rate of the probe,
which has a head alone to learn. An arm that ends in ``_mean`` reads the mean of the patches'
tokens, the others read the class token.

What lies in OUT is not made again.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from heads import COMMON, NOISE, SHAPE, differ_by_sex, draw_heads
from networks import MAE, VIT
from sklearn.metrics import roc_auc_score

from bids_sexclf import models
from bids_sexclf.disk import write_json
from bids_sexclf.settings import Study
from bids_sexclf.training import outside, pretraining, standardize
from bids_sexclf.training.evidence import Standardise
from bids_sexclf.training.mae import masked_loss

UNSEEN, VALIDATION, TESTED = 40, 8, 200
KINDS = ("unlabelled", "unseen", "labelled", "tested")
EPOCHS, EPOCHS3D = 40, 60
ARMS = {
    "scratch": {"arm": "scratch"},
    "probe": {"arm": "probe", "learning_rate": 1e-2},
    "finetune": {"arm": "finetune"},
}
ARMS |= {f"{name}_mean": options | {"pool": "mean"} for name, options in ARMS.items()}


def heads(n, kind, number, given):
    """Draw heads of a kind; give volumes, and 1 for male."""
    planted = differ_by_sex(n, given.effect)
    drawn = draw_heads(planted, [KINDS.index(kind), number], given.noise)
    return np.stack(list(drawn)), np.arange(n) % 2


def pretrain(folder, number, given):
    """Pretrain an encoder without sexes, and note its error on heads it has not seen.

    Parameters
    ----------
    folder : pathlib.Path
        Gets ``encoder.safetensors``, whom it knows, and ``errors.json`` last.
    number : int
        Of the draw of heads, and the seed.
    given : argparse.Namespace

    Returns
    -------
    dict
        Step to the errors of the mean head, and of the autoencoder before and after it.
    """
    path = folder / "errors.json"
    if path.exists():
        return json.loads(path.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    volumes, _ = heads(given.unlabelled, "unlabelled", number, given)
    unseen, _ = heads(UNSEEN, "unseen", number, given)
    scales = standardize.learn(volumes, "map")
    standardise = Standardise(*map(torch.from_numpy, map(np.asarray, scales)))
    seen, errors = standardise(torch.from_numpy(unseen)), {}
    usual = standardise(torch.from_numpy(volumes.mean(0, keepdims=True)))

    def watch(step, autoencoder):
        told = errors.setdefault(step, [error(step, autoencoder, seen, usual)])
        told.append(error(step, autoencoder, seen))

    torch.manual_seed(number)
    design = {key: value for key, value in VIT.items() if key != "design"}
    network = models.build("vit", grid=SHAPE, **design)
    context = pretraining.Context(standardise, scales, "32", number, folder, None, watch=watch)
    choices = MAE | {"mae3d_epochs": EPOCHS3D, "normalize_patches": given.normalize}
    pretraining.pretrain(network, volumes, context, arm="finetune", **choices)
    outside.write_card(folder / pretraining.ENCODER, [f"sub-u{i:03d}" for i in range(len(volumes))])
    write_json(errors, path)
    return errors


@torch.no_grad()
def error(step, autoencoder, seen, guess=None):
    """Give the error on hidden patches, always the same, of what is foretold or of a guess.

    Parameters
    ----------
    step : {"mae2d", "mae3d"}
        On slices, the middle one of each volume is taken.
    autoencoder : _mae.MaskedAutoencoder
    seen : torch.Tensor, shape (n, 1, *SHAPE)
    guess : torch.Tensor, shape (1, 1, *SHAPE), optional
        One volume for all, e.g. the mean of those learnt from.

    Returns
    -------
    float
    """
    if step == "mae2d":
        seen, guess = (x if x is None else x[:, :, SHAPE[0] // 2] for x in (seen, guess))
    autoencoder.eval()
    told, hidden = autoencoder.predict(seen, torch.Generator().manual_seed(0))
    autoencoder.train()
    truth = autoencoder.targets(seen)
    told = told if guess is None else autoencoder.targets(guess).expand_as(truth)
    return masked_loss(told, truth, hidden).item()


def learn(arm, encoder, labels, number, given):
    """Let one arm learn from a few heads; give its AUC over others."""
    options = VIT | ARMS[arm]
    if options["arm"] != "scratch":
        options |= {"weights": str(encoder)}
    choices = COMMON | {"epochs": EPOCHS, "patience": EPOCHS}
    study = Study(models=["arm"], variants={"arm": options}, **choices)
    volumes, target = heads(labels + VALIDATION, "labelled", number, given)
    tested, truth = heads(TESTED, "tested", number, given)
    fitted = models.make(study, "arm").fit(
        volumes[:labels], target[:labels], (volumes[labels:], target[labels:]), seed=number
    )
    return float(roc_auc_score(truth, fitted.evidence(tested)))


def compare(given):
    """Print the tables."""
    loss = "normalised" if given.normalize else "plain"
    setting = f"{loss}-{given.effect:g}-{given.noise:g}-{given.unlabelled}"
    numbers = range(given.first, given.first + given.encoders)
    folders = [given.out / setting / str(number) for number in numbers]
    print("| step | mean head | fresh | learnt |\n|---|---|---|---|")
    for number, folder in zip(numbers, folders, strict=True):
        for step, errors in pretrain(folder, number, given).items():
            cells = " | ".join(f"{one:.3f}" for one in errors)
            print(f"| `{step}` | {cells} |", flush=True)
    print("| labelled heads | arm | AUC | minus scratch | draws above |\n" + "|---" * 5 + "|")
    for labels in given.labels:
        told = {
            arm: np.array([score(arm, folders, labels, at, given) for at in range(given.draws)])
            for arm in given.arms
        }
        scratch = max((told[arm] for arm in told if arm.startswith("scratch")), key=np.mean)
        for arm, scores in told.items():
            print(f"| {labels} | `{arm}` | {say(scores)} | {tell(scores - scratch)} |", flush=True)


def score(arm, folders, labels, at, given):
    """Give the AUC of one draw, which has an encoder of its own or shares one with others."""
    folder, number = folders[at % len(folders)], given.first + at
    path = folder / f"{arm}-{labels}-{number}.json"
    if not path.exists():
        auc = learn(arm, folder / pretraining.ENCODER, labels, number, given)
        write_json({"auc": auc}, path)
    return json.loads(path.read_text())["auc"]


def say(scores):
    """Say mean and range."""
    return f"{scores.mean():.2f} ({scores.min():.2f} to {scores.max():.2f})"


def tell(differences):
    """Say mean and range of differences, and how many are above zero, or nothing."""
    if not differences.any():
        return " | "
    return f"{say(differences)} | {(differences > 0).sum()} of {len(differences)}"


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--labels", nargs="+", type=int, default=[4, 8, 16])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--encoders", type=int, default=2, help="that the draws share")
    parser.add_argument("--first", type=int, default=0, help="number of the first draw")
    parser.add_argument("--effect", type=float, default=4.0)
    parser.add_argument("--noise", type=float, default=NOISE)
    parser.add_argument("--unlabelled", type=int, default=200)
    parser.add_argument("--normalize", action="store_true", help="the loss as published")
    compare(parser.parse_args())


if __name__ == "__main__":
    main()
