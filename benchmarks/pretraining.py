"""Ask what masked autoencoding gives a transformer that has few labels, on synthetic heads.

    python benchmarks/pretraining.py OUT [--labels 16 32] [--seeds 3] [--effect 4]

The heads are those of benchmarks/networks.py. An encoder learns from 200 heads without their sex,
on slices and then on volumes. The first table gives its error on the hidden patches of 40 heads
that it has not seen, fresh and learnt; the unit is the variance of a patch, so 1 is what the mean
of each patch gives. Then each arm learns sex from the same few heads, new ones: from scratch; by a
linear probe of that encoder; by fine-tuning it. 8 more choose the epoch. The second table gives
the AUC over 200 further heads, mean and range over draws of heads and seeds. All arms have the same
size and training choices, but for the learning rate of the probe, which has a head alone to learn.

What lies in OUT is not made again.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from networks import COMMON, MAE, SHAPE, VIT, draw_heads
from sklearn.metrics import roc_auc_score

from bids_sexclf import models
from bids_sexclf.disk import write_json
from bids_sexclf.models import _outside, _pretrain, _standardize
from bids_sexclf.models._torch import Standardise
from bids_sexclf.settings import Study

UNLABELLED, UNSEEN, VALIDATION, TESTED = 200, 40, 8, 200
EPOCHS = 40
ARMS = {
    "scratch": {"arm": "scratch"},
    "probe": {"arm": "probe", "learning_rate": 1e-2},
    "finetune": {"arm": "finetune"},
}


def heads(n, effect, seed):
    """Draw heads; give volumes, and 1 for male."""
    drawn = list(draw_heads(n, effect, seed))
    return np.stack([volume for _, volume in drawn]), np.array([sex == "M" for sex, _ in drawn]) * 1


def pretrain(folder, effect):
    """Pretrain an encoder without sexes, and note its error on heads it has not seen.

    Parameters
    ----------
    folder : pathlib.Path
        Gets ``encoder.safetensors``, whom it knows, and ``errors.json`` last.
    effect : float
        Planted in these heads as in all.

    Returns
    -------
    dict
        Step to the errors before and after it.
    """
    told = folder / "errors.json"
    if told.exists():
        return json.loads(told.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    volumes, unseen = heads(UNLABELLED, effect, 100)[0], heads(UNSEEN, effect, 101)[0]
    scales = _standardize.learn(volumes, "map")
    standardise = Standardise(*map(torch.from_numpy, map(np.asarray, scales)))
    seen, errors = standardise(torch.from_numpy(unseen)), {}

    def watch(step, autoencoder):
        errors.setdefault(step, []).append(error(step, autoencoder, seen))

    torch.manual_seed(0)
    design = {key: value for key, value in VIT.items() if key != "design"}
    network = models.build("vit", grid=SHAPE, **design)
    context = _pretrain.Context(standardise, scales, "32", 0, folder, None, watch=watch)
    _pretrain.pretrain(network, volumes, context, arm="finetune", **MAE)
    _outside.write_card(folder / _pretrain.ENCODER, [f"sub-u{i:03d}" for i in range(UNLABELLED)])
    write_json(errors, told)
    return errors


@torch.no_grad()
def error(step, autoencoder, seen):
    """Give the error on hidden patches of volumes, or of their middle slices; always the same."""
    autoencoder.eval()
    if step == "mae2d":
        seen = seen[:, :, SHAPE[0] // 2]
    loss = autoencoder(seen, torch.Generator().manual_seed(0)).item()
    autoencoder.train()
    return loss


def learn(arm, encoder, labels, effect, seed):
    """Let one arm learn from a few heads; give its AUC over others."""
    options = VIT | ARMS[arm]
    if arm != "scratch":
        options |= {"weights": str(encoder)}
    choices = COMMON | {"epochs": EPOCHS, "patience": EPOCHS}
    study = Study(models=["arm"], variants={"arm": options}, **choices)
    volumes, target = heads(labels + VALIDATION, effect, 200 + seed)
    tested, truth = heads(TESTED, effect, 300)
    fitted = models.make(study, "arm").fit(
        volumes[:labels], target[:labels], (volumes[labels:], target[labels:]), seed=seed
    )
    return float(roc_auc_score(truth, fitted.evidence(tested)))


def compare(given):
    """Print both tables."""
    folder = given.out / f"encoder-{given.effect:g}"
    print("| step | error fresh | error learnt |\n|---|---|---|")
    for step, (before, after) in pretrain(folder, given.effect).items():
        print(f"| `{step}` | {before:.3f} | {after:.3f} |", flush=True)
    print("| labelled heads | " + " | ".join(ARMS) + " |\n|---|" + "---|" * len(ARMS))
    for labels in given.labels:
        cells = []
        for arm in ARMS:
            scores = []
            for seed in range(given.seeds):
                path = folder / f"{arm}-{labels}-{seed}.json"
                if not path.exists():
                    encoder = folder / _pretrain.ENCODER
                    write_json({"auc": learn(arm, encoder, labels, given.effect, seed)}, path)
                scores.append(json.loads(path.read_text())["auc"])
            cells.append(f"{np.mean(scores):.2f} ({min(scores):.2f} to {max(scores):.2f})")
        print(f"| {labels} | " + " | ".join(cells) + " |", flush=True)


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--labels", nargs="+", type=int, default=[16, 32])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--effect", type=float, default=4.0)
    compare(parser.parse_args())


if __name__ == "__main__":
    main()
