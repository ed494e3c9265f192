"""Every choice of a phantom dataset, in one frozen record."""

import math
from dataclasses import dataclass, field, fields

from bids_sexclf.errors import InputError
from bids_sexclf.lobes import list_lobes
from bids_sexclf.texts import count_noun

MAPS = ("T1w", "FA", "MD", "MK")
"""The quantities that vary from region to region."""

MAX_RELATIVE_CHANGE = 0.4
"""Largest half difference of the sexes, relative to the region's mean."""


def _option(default, text, low=-math.inf, high=math.inf, choices=None):
    """Declare one option: its default, its help, and its allowed values."""
    rules = {"help": text, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=rules)


@dataclass(frozen=True)
class PhantomOptions:
    """The choices of a phantom dataset.

    Raises
    ------
    InputError
        It lists every option that is out of range or contradicts another.

    Notes
    -----
    Every field is a flag of ``bids-sexclf-phantom``; its help says units and meaning.
    """

    participants: int = _option(20, "Participants.", 1, 99999)
    seed: int = _option(0, "Seed of everything random.", 0, 2**32 - 1)
    effect_region: str = _option(
        "Right posterior superior white matter", "Name or index of the lobe that differs by sex."
    )
    effect_map: str = _option("T1w", "Quantity that differs there.", choices=MAPS)
    effect_size: float = _option(
        5.0, "Cohen's d of that quantity, male minus female; 0 is no effect.", -16, 16
    )
    brain_size_difference: float = _option(
        0.0, "Cohen's d of brain volume, male minus female.", -4, 4
    )
    age_effect: float = _option(
        0.0, "Share of grey matter lost to CSF per decade after the age of 20.", 0, 0.15
    )
    regional_sd: float = _option(
        0.05, "SD between participants of every regional value, relative to its mean.", 0.001, 0.1
    )
    sites: int = _option(1, "Sites, each with its own intensity, contrast and noise.", 1, 100)
    twins: int = _option(0, "Pairs of twins, who share most of their anatomy.", 0, 49999)
    faulty: float = _option(0.0, "Share of participants with a fault.", 0, 1)
    resolution: float = _option(3.0, "Voxel size of the T1w scans, mm.", 0.7, 8)
    dwi: bool = _option(True, "Make diffusion scans.")
    dwi_resolution: float = _option(4.0, "Voxel size of the diffusion scans, mm.", 1, 10)
    shells: tuple[int, ...] = _option((1000, 2000), "b-values, s/mm2.", 100, 10000)
    directions: tuple[int, ...] = _option(
        (12,), "Directions per shell: one number, or one for each shell.", 6, 512
    )
    b0s: int = _option(3, "Volumes without diffusion weighting.", 1, 100)
    motion: float = _option(
        0.0, "SD of head motion between diffusion volumes, mm and degrees.", 0, 10
    )
    noise: float = _option(
        0.02, "SD of the noise relative to white matter (T1w, or diffusion at b=0).", 0, 0.5
    )
    bias: float = _option(0.2, "Largest relative change of intensity by the bias field.", 0, 0.7)

    def __post_init__(self):
        for name in ("shells", "directions"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        faults = self._faults() or self._contradictions()
        if faults:
            raise InputError(
                f"Found {count_noun(len(faults), 'option')} that no phantom can have: "
                f"{'; '.join(faults)}. "
                "Needed values in their range. Correct them; --help lists every option."
            )

    def _faults(self):
        """List the values that their field does not allow."""
        faults = []
        for entry in fields(self):
            rules, values = entry.metadata, getattr(self, entry.name)
            low, high, choices = rules["low"], rules["high"], rules["choices"]
            for value in values if isinstance(values, tuple) else (values,):
                if choices and value not in choices:
                    faults.append(f"{entry.name} is {value!r}, not one of {', '.join(choices)}")
                if entry.type in (int, float, tuple[int, ...]) and not low <= value <= high:
                    faults.append(f"{entry.name} is {value!r}, not within [{low}, {high}]")
        return faults

    def _contradictions(self):
        """List the values that contradict each other."""
        lobes = {str(row["index"]) for row in list_lobes()} | {row["name"] for row in list_lobes()}
        change = abs(self.effect_size) * self.regional_sd / 2
        checks = {
            f"effect_region is {self.effect_region!r}, neither an index from 1 to "
            f"{len(list_lobes())} nor one of {', '.join(row['name'] for row in list_lobes())}": str(
                self.effect_region
            )
            in lobes,
            f"twins is {self.twins}, more pairs than {self.participants} participants allow": 2
            * self.twins
            <= self.participants,
            f"effect_map is {self.effect_map}, without diffusion scans": self.dwi
            or self.effect_map == "T1w",
            f"directions has {len(self.directions)} numbers for {len(self.shells)} shells": len(
                self.directions
            )
            in (1, len(self.shells)),
            f"shells is {self.shells}, without one b-value or with one twice": 0
            < len(self.shells)
            == len(set(self.shells)),
            f"effect_size {self.effect_size} times regional_sd {self.regional_sd} changes the "
            f"region by {change:.0%}, over {MAX_RELATIVE_CHANGE:.0%}": change
            <= MAX_RELATIVE_CHANGE,
        }
        return [fault for fault, good in checks.items() if not good]

    @property
    def effect_lobe(self):
        """The row of the atlas that differs by sex."""
        wanted = str(self.effect_region)
        return next(row for row in list_lobes() if wanted in (str(row["index"]), row["name"]))

    @property
    def maps(self):
        """The quantities that the scans show."""
        return MAPS if self.dwi else MAPS[:1]
