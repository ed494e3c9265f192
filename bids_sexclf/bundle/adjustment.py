"""Remove confounds from volumes and features: estimated in the training part, applied to all parts.

The confounds of `residualize` are removed first, then site effects by ComBat if `harmonize` is set.
Neither uses the target.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bids_sexclf.disk import digest_file, whole, write_json
from bids_sexclf.errors import InputError
from bids_sexclf.features import Features
from bids_sexclf.stats.combat import learn_sites
from bids_sexclf.stats.residuals import learn_effects

COLUMNS = {
    "age": "age_years",
    "brain_size": "brain_volume_ml",
    "site": "site",
    "motion": "motion_mm",
}
CARD, ARRAYS = "adjustment.json", "adjustment.safetensors"


@dataclass(frozen=True)
class Adjustment:
    """The effects of confounds, as estimated in the training part.

    Attributes
    ----------
    confounds : tuple of str
        Those residualised on, in the words of the settings.
    sites : tuple of str
        Of the training part, sorted; empty where no site plays a part.
    centre, spread : ndarray, shape (k,)
        Of the columns of confounds.
    arrays : dict of str to ndarray
        ``effects``, shape (k, *S); ``gain`` and ``shift``, shape (sites, *S).
    """

    confounds: tuple = ()
    sites: tuple = ()
    centre: np.ndarray = field(default_factory=lambda: np.zeros(0))
    spread: np.ndarray = field(default_factory=lambda: np.ones(0))
    arrays: dict = field(default_factory=dict)

    @property
    def columns(self):
        """Columns of cohort.tsv that must be known of whoever is adjusted."""
        if not self.arrays:
            return ()
        names = [COLUMNS[name] for name in self.confounds]
        return tuple(dict.fromkeys([*names, *(["site"] if "gain" in self.arrays else [])]))

    def __call__(self, inputs, people):
        """Return the inputs after removal of the confounds.

        Parameters
        ----------
        inputs : volumes.Rows or features.Features
        people : pandas.DataFrame
            Their rows of the cohort.

        Returns
        -------
        Adjusted or Features
            The inputs themselves if nothing is removed.
        """
        if not self.arrays:
            return inputs
        design = _design(people, self.confounds, self.sites)
        site = _codes(people, self.sites) if "gain" in self.arrays else None
        adjusted = Adjusted(inputs, self, (design - self.centre) / self.spread, site)
        if isinstance(inputs, Features):
            return Features(adjusted[np.arange(len(inputs))], inputs.names)
        return adjusted

    def save(self, folder):
        """Save the arrays, then the card; remove both if there is no adjustment."""
        from safetensors.numpy import save_file

        folder = Path(folder)
        if not self.arrays:
            for name in (CARD, ARRAYS):
                (folder / name).unlink(missing_ok=True)
            return
        with whole(folder / ARRAYS) as part:
            save_file({key: np.ascontiguousarray(one) for key, one in self.arrays.items()}, part)
        write_json(
            {
                "digest": digest_file(folder / ARRAYS),
                "confounds": list(self.confounds),
                "sites": list(self.sites),
                "centre": self.centre.tolist(),
                "spread": self.spread.tolist(),
            },
            folder / CARD,
        )

    @classmethod
    def load(cls, folder):
        """Load a saved adjustment; return an empty one if there is none.

        Raises
        ------
        InputError
            If it is damaged.
        """
        import json

        from safetensors.numpy import load_file

        folder = Path(folder)
        if not (folder / CARD).exists():
            return cls()
        try:
            card = json.loads((folder / CARD).read_text())
            if card["digest"] != digest_file(folder / ARRAYS):
                raise ValueError(f"{ARRAYS} has other content than was saved")
            return cls(
                tuple(card["confounds"]),
                tuple(card["sites"]),
                np.array(card["centre"], dtype=np.float64),
                np.array(card["spread"], dtype=np.float64),
                load_file(folder / ARRAYS),
            )
        except Exception as fault:  # safetensors raises a kind of its own on a damaged file
            raise InputError(
                f"Found {folder / CARD}, which does not say how confounds were taken out "
                f"({fault}); needed what the fit wrote. Run again with --first fit."
            ) from fault


class Adjusted:
    """A view of rows after removal of confounds, computed on each access and not stored.

    It replaces `volumes.Rows`; networks, classifiers and attribution use it like plain rows.

    Parameters
    ----------
    rows : volumes.Rows or features.Features
    adjustment : Adjustment
    design : ndarray, shape (n, k)
        Confounds of these rows, centred and scaled.
    site : ndarray of int, shape (n,), or None
    """

    def __init__(self, rows, adjustment, design, site):
        self.rows, self.adjustment, self.design, self.site = rows, adjustment, design, site

    def __len__(self):
        return len(self.rows)

    @property
    def shape(self):
        """Shape of the rows."""
        return self.rows.shape

    def channel(self, number):
        """Return a view of one of several maps that are read together."""
        return AdjustedChannel(self, number)

    def __getitem__(self, participants):
        """Return one participant, or several, in the precision of the rows."""
        if np.ndim(participants) == 0:
            return self._take_out(np.array(self.rows[participants]), int(participants))
        participants = np.arange(len(self))[participants]
        values = np.array(self.rows[participants])
        for place, row in enumerate(participants):
            values[place] = self._take_out(values[place], row)
        return values

    def _take_out(self, values, row):
        arrays, kind = self.adjustment.arrays, values.dtype
        # One after the other, so that no result depends on other participants in the batch.
        for amount, effect in zip(self.design[row], arrays.get("effects", ()), strict=False):
            values = values - kind.type(amount) * effect
        if self.site is not None:
            values = arrays["gain"][self.site[row]] * values + arrays["shift"][self.site[row]]
        return values.astype(kind, copy=False)


class AdjustedChannel:
    """A view of one map among several, after removal of confounds.

    Parameters
    ----------
    rows : Adjusted
        Of `volumes.Channels`.
    number : int
    """

    def __init__(self, rows, number):
        self.rows, self.number = rows, number

    def __len__(self):
        return len(self.rows)

    @property
    def shape(self):
        """Participants and grid: (k, X, Y, Z)."""
        return (len(self), *self.rows.shape[2:])

    def __getitem__(self, participants):
        """Return one participant, shape (X, Y, Z), or several, shape (k, X, Y, Z)."""
        return self.rows[participants][..., self.number, :, :, :]


def learn(study, inputs, people):
    """Estimate the effects of confounds on volumes or features in the training part.

    Parameters
    ----------
    study : settings.Study
        ``residualize`` and ``harmonize`` are read.
    inputs : volumes.Rows or features.Features
        The training part. Unknown features stand at the median meanwhile.
    people : pandas.DataFrame
        Its rows of the cohort.

    Returns
    -------
    Adjustment

    Raises
    ------
    InputError
        If confounds are unknown, or there are too few participants.
    """
    if len(inputs.shape) == 5:
        # Each map separately: ComBat shares information between voxels of one quantity.
        by_map = [learn(study, inputs.channel(i), people) for i in range(inputs.shape[1])]
        arrays = {key: np.stack([one.arrays[key] for one in by_map], 1) for key in by_map[0].arrays}
        return replace(by_map[0], arrays=arrays)
    needs_sites = study.harmonize != "none" or "site" in study.residualize
    sites = tuple(sorted(people["site"].dropna().unique())) if needs_sites else ()
    if isinstance(inputs, Features):
        inputs = _complete(inputs)
    adjustment = Adjustment()
    if study.residualize:
        confounds = tuple(study.residualize)
        design = _design(people, confounds, sites)
        # Where sites are harmonized, confounds speak within sites: what differs between sites is
        # left to ComBat, which otherwise would move what age has done to a site of the old.
        beside = _design(people, ("site",) if study.harmonize != "none" else (), sites)
        effects, *scale = learn_effects(inputs, np.hstack([design, beside]))
        count = design.shape[1]
        centre, spread = (one[:count] for one in scale)
        adjustment = Adjustment(confounds, sites, centre, spread, {"effects": effects[:count]})
    if study.harmonize == "combat":
        gain, shift = learn_sites(adjustment(inputs, people), _codes(people, sites), len(sites))
        adjustment = replace(
            adjustment, sites=sites, arrays=adjustment.arrays | {"gain": gain, "shift": shift}
        )
    return adjustment


def _complete(features):
    """Replace unknown features by the median of the training part; by 0 if all are unknown."""
    values = features.values.copy()
    for column in values.T:
        finite = np.isfinite(column)
        column[~finite] = np.median(column[finite]) if finite.any() else 0
    return Features(values, features.names)


def _design(people, confounds, sites):
    """Return the columns of confounds, shape (n, k); sites as 0 and 1, without the first."""
    columns = []
    for name in confounds:
        if name == "site":
            codes = _codes(people, sites)
            columns += [(codes == number).astype(float) for number in range(1, len(sites))]
        else:
            columns.append(people[COLUMNS[name]].to_numpy(float))
    return np.stack(columns, axis=1) if columns else np.zeros((len(people), 0))


def _codes(people, sites):
    """Convert sites to numbers; raise InputError for sites that are not in the training part."""
    place = {site: number for number, site in enumerate(sites)}
    strange = people.loc[~people["site"].isin(place), ["participant_id", "site"]]
    if len(strange):
        raise InputError(
            f"Found {len(strange)} participants of unknown sites or of sites that training did not "
            f"hold ({strange['participant_id'].iloc[0]}: {strange['site'].iloc[0]}), needed those "
            f"of training: {', '.join(sites)}. Take sites out by neither residualize nor harmonize."
        )
    return people["site"].map(place).to_numpy(int)


def check(study, cohort, splits):
    """Refuse confounds that cannot be removed, before the first fit; list all faults.

    Parameters
    ----------
    study : settings.Study
    cohort, splits : pandas.DataFrame

    Raises
    ------
    InputError
    """
    names = list(study.residualize) + (["site"] if study.harmonize != "none" else [])
    faults = []
    for name in dict.fromkeys(names):
        unknown = cohort.loc[cohort[COLUMNS[name]].isna(), "participant_id"]
        if len(unknown):
            faults.append(
                f"{len(unknown)} participants without {COLUMNS[name]} ({', '.join(unknown[:5])})"
            )
    if getattr(study, "target", "sex") in study.residualize:
        faults.append(f"{study.target}, which is the target, in residualize")
    if study.harmonize != "none" and "site" in study.residualize:
        faults.append("site in residualize as well as in harmonize")
    if "site" in names and not cohort["site"].isna().any():
        faults += _site_faults(study, cohort, splits)
    if faults:
        raise InputError(
            f"Found {'; '.join(faults)}. Needed confounds that are known of everyone and can be "
            "learnt in every training part. Complete participants.tsv, or correct residualize, "
            "harmonize or split."
        )


def _site_faults(study, cohort, splits):
    """List sites that cannot be estimated in a training part."""
    sites = cohort.drop_duplicates("participant_id")[["participant_id", "site"]]
    used = splits[splits["part"] != "unused"].merge(sites, on="participant_id")
    faults = [] if sites["site"].nunique() > 1 else ["one site only"]
    needed = 2 if study.harmonize != "none" else 1
    for (repeat, fold), rows in used.groupby(["repeat", "fold"]):
        trained = rows.loc[rows["part"] == "train", "site"].value_counts()
        small_sites = sorted(set(rows["site"]) - set(trained.index[trained >= needed]))
        if small_sites:
            faults.append(
                f"fewer than {needed} training participants of {', '.join(small_sites)} in repeat "
                f"{repeat}, fold {fold}"
            )
    return faults
