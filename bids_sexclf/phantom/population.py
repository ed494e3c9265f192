"""Draw the participants of a phantom: sex, age, site, family, faults, regional values.

Participant k depends only on the options and on k, never on the number of participants.
"""

from dataclasses import dataclass

import numpy as np

from bids_sexclf.lobes import list_lobes
from bids_sexclf.phantom.faults import FAULTS

MEAN_BRAIN_ML, SD_BRAIN_ML = 1200.0, 100.0
"""Volume of the brain mask, mean and within-sex SD."""

AGES = (20.0, 80.0)
TWIN_SHARE = 0.9
"""Share of the variance of anatomy and regional values that twins have in common."""

LIMIT_SD = 3.5
"""Draws end here, so that no participant is impossible."""

BASELINE = {
    "T1w": {"grey": 1.0, "white": 1.0},
    "FA": {"grey": 0.15, "white": 0.45},
    "MD": {"grey": 0.85e-3, "white": 0.75e-3},
    "MK": {"grey": 0.6, "white": 0.9},
}
"""Mean of every quantity; T1w relative to the tissue's usual intensity, MD in mm2/s."""

_PEOPLE, _FAMILIES, _SITES = range(3)


@dataclass(frozen=True)
class Person:
    """One participant of a phantom.

    Attributes
    ----------
    order : int
        Position in the dataset, from 0.
    label : str
        BIDS label, without ``sub-``.
    sex : str
        ``F`` or ``M``, the truth.
    age : float
        Years, in [20, 80].
    site, family : int
        Position among the sites and the families, from 0.
    fault : str
        One of `faults.FAULTS`, or empty.
    volume_ml : float
        Volume asked of the brain mask.
    relative : dict of str to numpy.ndarray, shape (24,)
        Per map, the regional values relative to `BASELINE`.
    """

    order: int
    label: str
    sex: str
    age: float
    site: int
    family: int
    fault: str
    volume_ml: float
    relative: dict

    def regional_values(self, quantity):
        """Return the true value of every lobe.

        Parameters
        ----------
        quantity : str
            ``T1w`` (relative intensity), ``FA``, ``MD`` (mm2/s) or ``MK``.

        Returns
        -------
        numpy.ndarray, shape (24,)
        """
        usual = [BASELINE[quantity][row["tissue"]] for row in list_lobes()]
        return np.array(usual) * self.relative[quantity]


def draw_people(options):
    """Draw the participants of a dataset.

    Parameters
    ----------
    options : PhantomOptions

    Returns
    -------
    list of Person
        Half of each sex, also within sites, as far as possible; ages are uniform and
        matched between the sexes. Twins come first.
    """
    places = _places(options)
    faults = _faults(options)
    return [
        _draw_person(options, order, *places[order], fault) for order, fault in enumerate(faults)
    ]


def streams(options, person):
    """Return the random streams of one participant.

    Parameters
    ----------
    options : PhantomOptions
    person : Person

    Returns
    -------
    own, shared : numpy.random.Generator
        The second one is the same for both twins of a pair.
    """
    return _stream(options, _PEOPLE, person.order, 1), _stream(options, _FAMILIES, person.family, 1)


def site_draws(options, site):
    """Draw the properties of a site.

    Parameters
    ----------
    options : PhantomOptions
    site : int

    Returns
    -------
    intensity, contrast, noise : float
        Factors on every intensity, on that of grey matter in T1w scans, and on the noise;
        all 1 where there is only one site.
    """
    if options.sites == 1:
        return 1.0, 1.0, 1.0
    spread = _stream(options, _SITES, site).uniform(-1, 1, 3)
    return tuple(np.exp(np.log([1.3, 1.08, 1.5]) * spread))


def mix_twins(own_draws, shared_draws, alone):
    """Combine a participant's own normal draws with those of the family.

    Parameters
    ----------
    own_draws, shared_draws : array, the same shape
        Standard normal draws.
    alone : bool
        True for a participant without a twin.

    Returns
    -------
    numpy.ndarray
        Standard normal draws that correlate by `TWIN_SHARE` between twins.
    """
    mixed = (
        own_draws
        if alone
        else np.sqrt(TWIN_SHARE) * shared_draws + np.sqrt(1 - TWIN_SHARE) * own_draws
    )
    return np.clip(mixed, -LIMIT_SD, LIMIT_SD)


def has_twin(options, person):
    """Return whether a participant belongs to a pair of twins."""
    return person.family < options.twins


def _stream(options, *key):
    """Return the random stream of one purpose."""
    return np.random.default_rng(np.random.SeedSequence(options.seed, spawn_key=key))


def _places(options):
    """Assign sex, family and block; a block holds as many women as men, at one site."""
    families = range(options.twins)
    twins = [("FM"[family % 2], family, family // 2) for family in families for _ in range(2)]
    family, block = options.twins, options.twins // 2
    if options.twins % 2:
        # The last pair is female; two unrelated men complete its block.
        twins += [("M", family, block), ("M", family + 1, block)]
        family, block = family + 2, block + 1
    places = twins
    while len(places) < options.participants:
        first = "FM"[int(_stream(options, _FAMILIES, family, 2).integers(2))]
        second = "F" if first == "M" else "M"
        places += [(first, family, block), (second, family + 1, block)]
        family, block = family + 2, block + 1
    return places[: options.participants]


def _faults(options):
    """Assign the faults evenly to the participants, one kind after the other."""
    kinds = [name for name in FAULTS if options.dwi or name != "bval_count"]
    # The small number keeps e.g. 10 x 0.3 from falling just under 3.
    counts = np.floor(np.arange(options.participants + 1) * options.faulty + 1e-9).astype(int)
    return [
        kinds[before % len(kinds)] if after > before else ""
        for before, after in zip(counts[:-1], counts[1:], strict=True)
    ]


def _draw_person(options, order, sex, family, block, fault):
    """Draw one participant."""
    own_stream, shared = _stream(options, _PEOPLE, order), _stream(options, _FAMILIES, family)
    alone = family >= options.twins
    sign = 0.5 if sex == "M" else -0.5
    size_z = mix_twins(own_stream.standard_normal(), shared.standard_normal(), alone)
    relative = {}
    for quantity in BASELINE:
        own_z, shared_z = own_stream.standard_normal(24), shared.standard_normal(24)
        deviation = mix_twins(own_z, shared_z, alone)
        if quantity == options.effect_map:
            deviation[options.effect_lobe["index"] - 1] += sign * options.effect_size
        relative[quantity] = 1 + options.regional_sd * deviation
    base = _stream(options, _FAMILIES, block, 3).uniform(*AGES)
    nudge = (own_stream if alone else shared).uniform(-1, 1)
    volume = MEAN_BRAIN_ML + SD_BRAIN_ML * (size_z + sign * options.brain_size_difference)
    return Person(
        order=order,
        label=f"{order + 1:03d}",
        sex=sex,
        age=round(float(np.clip(base + nudge, *AGES)), 1),
        site=block % options.sites,
        family=family,
        fault=fault,
        volume_ml=float(volume),
        relative=relative,
    )
