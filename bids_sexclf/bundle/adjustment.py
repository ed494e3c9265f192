"""Take confounds out of volumes and features: learnt from the training part, applied to any part.

What `residualize` names comes first, then ComBat where `harmonize` asks for it. Neither is ever
told the target.
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
    """What the training part has taught about confounds.

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
        """Give the inputs without the confounds.

        Parameters
        ----------
        inputs : volumes.Rows or features.Features
        people : pandas.DataFrame
            Their rows of the cohort.

        Returns
        -------
        Adjusted or Features
            The inputs themselves where nothing is taken out.
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
        """Save the arrays, then the card; remove both where nothing is taken out."""
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
        """Load what ``save`` wrote; one that takes nothing out where there is none.

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
    """View rows without their confounds: computed when they are read, never kept.

    It stands where `volumes.Rows` stands; networks, classifiers and attribution see plain rows.

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
        """As that of the rows."""
        return self.rows.shape

    def channel(self, number):
        """View one of several maps that are read together."""
        return AdjustedChannel(self, number)

    def __getitem__(self, which):
        """Give one participant, or several, in the precision of the rows."""
        if np.ndim(which) == 0:
            return self._take_out(np.array(self.rows[which]), int(which))
        which = np.arange(len(self))[which]
        values = np.array(self.rows[which])
        for place, row in enumerate(which):
            values[place] = self._take_out(values[place], row)
        return values

    def _take_out(self, values, row):
        arrays, kind = self.adjustment.arrays, values.dtype
        # One after the other, so that no one's numbers depend on who is read along.
        for amount, effect in zip(self.design[row], arrays.get("effects", ()), strict=False):
            values = values - kind.type(amount) * effect
        if self.site is not None:
            values = arrays["gain"][self.site[row]] * values + arrays["shift"][self.site[row]]
        return values.astype(kind, copy=False)


class AdjustedChannel:
    """View one map of rows that hold several, without its confounds.

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

    def __getitem__(self, which):
        """Give one participant, shape (X, Y, Z), or several, shape (k, X, Y, Z)."""
        return self.rows[which][..., self.number, :, :, :]


def learn(study, inputs, people):
    """Learn from the training part what confounds do to volumes or features.

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
        If confounds are unknown, or too few participants are there to learn from.
    """
    if len(inputs.shape) == 5:
        # Each map by itself: ComBat lets voxels of one quantity speak for each other.
        each = [learn(study, inputs.channel(i), people) for i in range(inputs.shape[1])]
        arrays = {key: np.stack([one.arrays[key] for one in each], 1) for key in each[0].arrays}
        return replace(each[0], arrays=arrays)
    needs_sites = study.harmonize != "none" or "site" in study.residualize
    sites = tuple(sorted(people["site"].dropna().unique())) if needs_sites else ()
    if isinstance(inputs, Features):
        inputs = _complete(inputs)
    made = Adjustment()
    if study.residualize:
        confounds = tuple(study.residualize)
        design = _design(people, confounds, sites)
        # Where sites are harmonized, confounds speak within sites: what differs between sites is
        # left to ComBat, which otherwise would move what age has done to a site of the old.
        beside = _design(people, ("site",) if study.harmonize != "none" else (), sites)
        effects, *scale = learn_effects(inputs, np.hstack([design, beside]))
        count = design.shape[1]
        centre, spread = (one[:count] for one in scale)
        made = Adjustment(confounds, sites, centre, spread, {"effects": effects[:count]})
    if study.harmonize == "combat":
        gain, shift = learn_sites(made(inputs, people), _codes(people, sites), len(sites))
        made = replace(made, sites=sites, arrays=made.arrays | {"gain": gain, "shift": shift})
    return made


def _complete(features):
    """Put the median of the training part where a feature is unknown; 0 where it is of all."""
    values = features.values.copy()
    for column in values.T:
        known = np.isfinite(column)
        column[~known] = np.median(column[known]) if known.any() else 0
    return Features(values, features.names)


def _design(people, confounds, sites):
    """Give the columns of confounds, shape (n, k); sites as 0 and 1, without the first."""
    columns = []
    for name in confounds:
        if name == "site":
            codes = _codes(people, sites)
            columns += [(codes == number).astype(float) for number in range(1, len(sites))]
        else:
            columns.append(people[COLUMNS[name]].to_numpy(float))
    return np.stack(columns, axis=1) if columns else np.zeros((len(people), 0))


def _codes(people, sites):
    """Turn sites into numbers, or refuse those that training did not hold."""
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
    """Refuse confounds that cannot be taken out, before the first fit and with every fault.

    Parameters
    ----------
    study : settings.Study
    cohort, splits : pandas.DataFrame

    Raises
    ------
    InputError
    """
    asked = list(study.residualize) + (["site"] if study.harmonize != "none" else [])
    faults = []
    for name in dict.fromkeys(asked):
        unknown = cohort.loc[cohort[COLUMNS[name]].isna(), "participant_id"]
        if len(unknown):
            faults.append(
                f"{len(unknown)} participants without {COLUMNS[name]} ({', '.join(unknown[:5])})"
            )
    if getattr(study, "target", "sex") in study.residualize:
        faults.append(f"{study.target}, which is the target, in residualize")
    if study.harmonize != "none" and "site" in study.residualize:
        faults.append("site in residualize as well as in harmonize")
    if "site" in asked and not cohort["site"].isna().any():
        faults += _site_faults(study, cohort, splits)
    if faults:
        raise InputError(
            f"Found {'; '.join(faults)}. Needed confounds that are known of everyone and can be "
            "learnt in every training part. Complete participants.tsv, or correct residualize, "
            "harmonize or split."
        )


def _site_faults(study, cohort, splits):
    """List sites that cannot be learnt in a training part."""
    sites = cohort.drop_duplicates("participant_id")[["participant_id", "site"]]
    known = splits[splits["part"] != "unused"].merge(sites, on="participant_id")
    faults = [] if sites["site"].nunique() > 1 else ["one site only"]
    least = 2 if study.harmonize != "none" else 1
    for (repeat, fold), rows in known.groupby(["repeat", "fold"]):
        trained = rows.loc[rows["part"] == "train", "site"].value_counts()
        few = sorted(set(rows["site"]) - set(trained.index[trained >= least]))
        if few:
            faults.append(
                f"fewer than {least} training participants of {', '.join(few)} in repeat {repeat}, "
                f"fold {fold}"
            )
    return faults
