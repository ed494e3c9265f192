"""Tables of a study that was never run: simulated people, networks and regions."""

import numpy as np
import pandas as pd

from bids_sexclf import catalogue, targets
from bids_sexclf.cohort.quality import limit_quality
from bids_sexclf.report.claims import judge_regions
from bids_sexclf.tables import schema, write_table

LEVEL = 1.96
"""Standard errors to either side of an interval."""
CHECKS = ("voxel_differences", "agreement", "sanity", "audit", "looked_at")
"""Tables of checks, which have no row unless a test gives them some."""


def make_study(models=("cnn3",), maps=("T1w",), n=100, separation=1.6, seed=0, fills=("donors",)):
    """Simulate the tables of a study, with a template and an atlas of eight blocks.

    Every network's logits lie `separation` standard deviations apart between the
    sexes; brain volume lies one apart; the shuffled model knows nothing.
    """
    rooms = (("models", models), ("fills", fills))
    assert all(set(used) <= set(catalogue.names(f"bids_sexclf.{room}")) for room, used in rooms)
    draw = np.random.default_rng(seed)
    cohort = make_cohort(draw, n)
    folds = np.arange(n) % 5 + 1
    target = (cohort["sex"] == "male").to_numpy().astype(int)
    size = (cohort["brain_volume_ml"] - cohort["brain_volume_ml"].mean()) / 110
    logits = {("brain_size", "table"): 1.5 * size.to_numpy()}
    logits["age_only", "table"] = draw.normal(0, 0.3, n)
    for which in maps:
        logits["shuffled", which] = draw.normal(0, 1, n)
    networks = {
        (model, which): separation * (2 * target - 1)
        + 0.5 * size.to_numpy()
        + draw.normal(0, 1.6, n)
        for model in models
        for which in maps
    }
    logits = networks | logits
    template, atlas = make_brain()
    tables = {
        "cohort": cohort,
        "excluded": make_excluded(),
        "quality": make_quality(cohort),
        "resemblance": pd.DataFrame(columns=list(schema("resemblance"))),
        "splits": make_splits(cohort, folds),
        "predictions": make_predictions(cohort, folds, target, logits),
        "scores": make_scores(target, logits, separation),
        "comparisons": make_comparisons(target, networks, logits, separation),
        "added": make_added(networks, n),
        "matching": make_matching(networks),
        "confounds": make_confounds(networks, draw),
        "history": make_history(draw, list(networks)),
        "regions": make_regions(draw, networks, atlas[0], n, fills, separation),
        "template": template,
        "atlas": atlas,
        "words": targets.find("sex").words,
    }
    tables |= {name: pd.DataFrame(columns=list(schema(name))) for name in CHECKS}
    tables["quality_limits"] = limit_quality(tables["quality"])
    tables["differences"] = make_differences(maps, atlas[0], n, np.random.default_rng(seed))
    tables["claims"] = judge_regions(tables["differences"], tables["regions"])
    return tables | make_curves(target, logits)


def make_aged_study(models=("ridge",), maps=("T1w",), n=100, seed=0):
    """Simulate the same people, and models that tell their ages, drawn towards the mean."""
    draw = np.random.default_rng(seed)
    tables = make_study(models=models, maps=maps, n=n, seed=seed)
    age = tables["cohort"]["age_years"].to_numpy(float)
    told = {
        (model, which): 50 + 0.6 * (age - 50) + draw.normal(0, 6, n)
        for model in models
        for which in maps
    }
    told["median_age", "table"] = np.full(n, np.median(age))
    scores, held = [], []
    for (model, which), ages in told.items():
        error = np.mean(np.abs(ages - age))
        p = 0.41 if model == "median_age" else 0.0005
        numbers = (n, error, 0.9 * error, 1.1 * error, 17.0, p, 2.0)
        scores.append((model, which, "mae", "test", *numbers))
        scores.append((model, which, "r2", "test", n, 0.5, 0.4, 0.6, 0.0, p, 2.0))
        if model != "median_age":
            numbers = (n, error - 15, error - 18, error - 12, 0.0005, 2.0)
            held.append((model, which, "median_age", "mae", *numbers, "above"))
    return tables | {
        "predictions": make_predictions(tables["cohort"], np.arange(n) % 5 + 1, age, told),
        "scores": pd.DataFrame(scores, columns=list(schema("scores"))),
        "comparisons": pd.DataFrame(held, columns=list(schema("comparisons"))),
        "words": targets.find("age").words,
    }


def make_empty():
    """Give the same tables with their columns and no row, and no images."""
    names = (
        "cohort",
        "excluded",
        "quality",
        "splits",
        "predictions",
        "scores",
        "comparisons",
        "added",
        "matching",
        "confounds",
        "differences",
        "claims",
        "history",
        "regions",
        "resemblance",
        *CHECKS,
    )
    tables = {name: pd.DataFrame(columns=list(schema(name))) for name in names}
    columns = ["number", "bad", "median", "low", "high"]
    tables["quality_limits"] = pd.DataFrame(columns=columns)
    tables["roc"] = pd.DataFrame(columns=["model", "map", "fpr", "tpr"])
    columns = ["model", "map", "predicted", "observed", "low", "high", "n"]
    tables["calibration"] = pd.DataFrame(columns=columns)
    return tables | {"template": None, "atlas": None, "words": targets.find("sex").words}


def save_study(tables, folder):
    """Write the tables and images as the stages of a study do."""
    from bids_sexclf.volumes import save

    for name, content in tables.items():
        unsaved = ("roc", "calibration", "quality_limits", "words", "claims")
        if name in unsaved or content is None:
            continue
        if name in ("template", "atlas"):
            save(*content, folder / "grid" / f"{name}.nii.gz")
        else:
            write_table(content, folder / f"{name}.tsv", name)


def make_cohort(draw, n):
    sex = np.where(np.arange(n) % 2, "male", "female")
    volume = np.where(sex == "male", 1250, 1120) + draw.normal(0, 105, n)
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{number:03d}" for number in range(1, n + 1)],
            "session_id": np.nan,
            "family_id": np.nan,
            "site": "A",
            "sex": sex,
            "age_years": draw.uniform(20, 82, n).round(1),
            "brain_volume_ml": volume.round(1),
            "motion_mm": draw.gamma(2, 0.3, n).round(3),
            "registration_agreement": draw.beta(40, 3, n).round(4),
            "snr": draw.normal(22, 3, n).round(2),
        }
    )


def make_quality(cohort):
    """Give the same numbers, and one head that moved far more than the others."""
    numbers = [column for column in schema("quality") if column in cohort]
    table = cohort[numbers].assign(studied="yes", gate="passed", outlier="no", reason=np.nan)
    table["motion_max_mm"] = table["motion_mm"] * 2
    table["slice_outliers_percent"] = np.nan
    table.loc[3, ["motion_mm", "motion_max_mm"]] = 9.0
    table.loc[3, "outlier"] = "yes"
    table["reason"] = np.where(table["outlier"] == "yes", "motion_mm 9 mm, far above", None)
    return table.reindex(columns=list(schema("quality")))


def make_excluded():
    rows = [
        ("sub-901", np.nan, "worklist", "Found no T1w scan, needed one."),
        ("sub-902", np.nan, "register", "Found agreement 0.41 with the template, needed >= 0.6."),
    ]
    return pd.DataFrame(rows, columns=["participant_id", "session_id", "stage", "reason"])


def make_splits(cohort, folds):
    parts = []
    for fold in range(1, 6):
        rest = np.where((np.arange(len(folds)) // 5) % 7 == 0, "validation", "train")
        part = np.where(folds == fold, "test", rest)
        ids = cohort["participant_id"]
        parts.append(pd.DataFrame({"repeat": 1, "fold": fold, "participant_id": ids, "part": part}))
    return pd.concat(parts, ignore_index=True)


def make_predictions(cohort, folds, target, logits):
    frames = [
        pd.DataFrame(
            {
                "model": model,
                "map": which,
                "repeat": 1,
                "fold": folds,
                "participant_id": cohort["participant_id"],
                "session_id": np.nan,
                "part": "test",
                "target": target,
                "evidence": logit,
            }
        )
        for (model, which), logit in logits.items()
    ]
    return pd.concat(frames, ignore_index=True)


def find_auc(target, logit):
    from sklearn.metrics import roc_auc_score

    area = roc_auc_score(target, logit)
    return area, np.sqrt(area * (1 - area) / len(target)) * 1.4 + 0.005


def make_scores(target, logits, separation):
    rows = []
    for (model, which), logit in logits.items():
        area, error = find_auc(target, logit)
        hit = np.mean((logit > 0) == target)
        knows = model == "brain_size" or (separation and model not in ("age_only", "shuffled"))
        for score, value in (("auc", area), ("balanced_accuracy", hit), ("accuracy", hit)):
            p = 0.0005 if knows else 0.41
            bounds = [max(value - LEVEL * error, 0), min(value + LEVEL * error, 1)]
            rows.append((model, which, score, "test", len(target), value, *bounds, 0.5, p, 2.0))
        brier = (0.2, 0.17, 0.23, 0.25, 0.0005, 2.0)
        rows.append((model, which, "brier", "test", len(target), *brier))
    return pd.DataFrame(rows, columns=list(schema("scores")))


def make_comparisons(target, networks, logits, separation):
    rows = []
    for model, which in networks:
        for baseline in ("brain_size", "age_only", "shuffled"):
            other = (baseline, which if baseline == "shuffled" else "table")
            first, error = find_auc(target, networks[model, which])
            difference = first - find_auc(target, logits[other])[0]
            low, high = difference - LEVEL * error, difference + LEVEL * error
            verdict = "above" if low > 0 else "below" if high < 0 else "not above"
            p = 0.003 if low > 0 else 0.2
            verdict = verdict if separation else "chance"
            rows.append(
                (model, which, baseline, "auc", len(target), difference, low, high, p, 2.0, verdict)
            )
    return pd.DataFrame(rows, columns=list(schema("comparisons")))


def make_matching(networks):
    """Let the AUC of every network fall as pairs become closer."""
    rows = []
    for model, which in networks:
        for step, caliper in enumerate((np.nan, 100, 50, 25, 10)):
            area = 0.85 - 0.05 * step
            numbers = (50 - 8 * step, 90 / (step + 1), area, area - 0.1, area + 0.1, 2.0)
            rows.append((model, which, caliper, *numbers))
    return pd.DataFrame(rows, columns=list(schema("matching")))


def make_added(networks, n):
    """Say of every network that it adds to brain size, and not to all confounds together."""
    rows = []
    for model, which in networks:
        rows.append((model, which, "brain_volume_ml", n, 3.1, 0.001, "adds", None, 2.0))
        both = "brain_volume_ml+age_years"
        rows.append((model, which, both, n, 1.1, 0.14, "not shown to add", None, 2.0))
    return pd.DataFrame(rows, columns=list(schema("added")))


def make_differences(maps, atlas, n, draw):
    """Give each region a difference: the first two differ, the first beyond brain size as well."""
    rows = []
    for which in maps:
        for adjusted in ("nothing", "brain_volume_ml+age_years"):
            for region in np.unique(atlas[atlas > 0]).astype(int):
                d = draw.normal(0, 0.1) + (0.9 if region <= 2 else 0)
                p = 0.0005 if region == 1 or (region == 2 and adjusted == "nothing") else 0.4
                name, side = f"Region {region}", "LR"[region % 2]
                numbers = (n, adjusted, d, d - 0.4, d + 0.4, 5 * d, p / 2, p, None)
                rows.append((which, "Blocks", region, name, side, 50, *numbers))
    return pd.DataFrame(rows, columns=list(schema("differences")))


def make_confounds(networks, draw):
    covariates = ("brain_volume_ml", "age_years", "motion_mm")
    rows = []
    for model, which in networks:
        for covariate in covariates:
            for sex, n in (("female", 50), ("male", 50), ("both", 100)):
                strong = covariate == "brain_volume_ml"
                rho = draw.normal(0.28 if strong else 0, 0.03)
                rows.append((model, which, covariate, sex, n, rho, 0.004 if strong else 0.62))
    return pd.DataFrame(rows, columns=list(schema("confounds")))


def make_history(draw, pairs):
    frames = []
    for model, which in pairs:
        for fold in range(1, 6):
            epoch = np.arange(draw.integers(14, 22))
            train = 0.69 * np.exp(-epoch / 9) + 0.02
            validation = 0.42 + 0.27 * np.exp(-epoch / 4) + 0.0009 * epoch**2
            frames.append(
                pd.DataFrame(
                    {
                        "model": model,
                        "map": which,
                        "repeat": 1,
                        "fold": fold,
                        "epoch": epoch,
                        "train_loss": train + draw.normal(0, 0.01, len(epoch)),
                        "validation_loss": validation + draw.normal(0, 0.02, len(epoch)),
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def make_regions(draw, networks, atlas, n, fills, separation):
    from scipy.stats import false_discovery_control, wilcoxon

    names = [
        f"{side} {place}"
        for side in ("Left", "Right")
        for place in ("front low", "front high", "back low", "back high")
    ]
    frames = []
    for model, which in networks:
        for fill in fills:
            truth = np.where(np.arange(8) % 4 == 1, 0.05 if separation else 0, 0.002)
            drops = draw.normal(truth, 0.09, (n, 8)).clip(-1, 1)
            mean, error = drops.mean(0), drops.std(0) / np.sqrt(n)
            p = np.array([wilcoxon(drop, alternative="greater").pvalue for drop in drops.T])
            order = np.argsort(p)
            holm = np.empty(8)
            holm[order] = np.maximum.accumulate(p[order] * np.arange(8, 0, -1)).clip(0, 1)
            frames.append(
                pd.DataFrame(
                    {
                        "model": model,
                        "map": which,
                        "method": "region_occlusion",
                        "fill": fill,
                        "atlas": "Blocks",
                        "region": np.arange(1, 9),
                        "name": names,
                        "hemisphere": list("LLLLRRRR"),
                        "n_voxels": [int((atlas == index).sum()) for index in range(1, 9)],
                        "n_participants": n,
                        "mean": mean,
                        "ci_low": mean - LEVEL * error,
                        "ci_high": mean + LEVEL * error,
                        "reason": None,
                        "effect_size": (mean / error / 10).clip(-1, 1),
                        "p": p,
                        "p_fwe": holm,
                        "p_holm": holm,
                        "q_fdr": false_discovery_control(p),
                        "p_wilcoxon": p,
                        "variance_factor": 2.0,
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def make_brain(shape=(23, 28, 23), size=8.0):
    """Give an ellipsoid and its eight octants, with axes to the right, the front and the top."""
    affine = np.diag([size, size, size, 1.0])
    affine[:3, 3] = -size * (np.array(shape) - 1) / 2
    world = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3] + affine[:3, 3]
    radius = np.linalg.norm(world / (70, 88, 66), axis=-1)
    template = np.where(radius < 1, 1.2 - radius**4, 0).astype(np.float32)
    octant = 1 + 4 * (world[..., 0] >= 0) + 2 * (world[..., 1] < 0) + (world[..., 2] >= 0)
    return (template, affine), (np.where(radius < 0.93, octant, 0).astype(np.float32), affine)


def make_curves(target, logits):
    from sklearn.metrics import roc_curve

    roc, calibration = [], []
    for (model, which), logit in logits.items():
        fpr, tpr, _ = roc_curve(target, logit)
        roc.append(pd.DataFrame({"model": model, "map": which, "fpr": fpr, "tpr": tpr}))
        group = pd.DataFrame({"bin": pd.qcut(logit, 8, labels=False), "t": target, "x": logit})
        mean = group.groupby("bin").mean()
        predicted, observed = 1 / (1 + np.exp(-mean["x"])), mean["t"]
        calibration.append(
            pd.DataFrame(
                {
                    "model": model,
                    "map": which,
                    "predicted": predicted,
                    "observed": observed,
                    "low": (observed - 0.2).clip(0),
                    "high": (observed + 0.2).clip(upper=1),
                    "n": group.groupby("bin").size(),
                }
            )
        )
    return {"roc": pd.concat(roc), "calibration": pd.concat(calibration)}
