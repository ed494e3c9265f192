"""Attacks on the program: a short form for the tests, a long one for ``benchmarks/chaos.py``.

Each module holds one part: ``kills``, ``writes``, ``permissions``, ``mutations``, ``hostile``,
``together`` and ``repeats``. Its ``run(folder, count, seed)`` gives an `Outcome`.
"""

import time
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """What one attack found.

    Attributes
    ----------
    part : str
    tried : int
        How often the program was attacked.
    faults : list of str
        What the program did wrong, with what it takes to see it again.
    numbers : dict
        What else was counted.
    skipped : list of str
        What could not be tried here, and why.
    seconds : float
    """

    part: str
    tried: int = 0
    faults: list = field(default_factory=list)
    numbers: dict = field(default_factory=dict)
    skipped: list = field(default_factory=list)
    seconds: float = 0.0
    started: float = field(default_factory=time.monotonic, repr=False)

    def count(self, name, more=1):
        """Add to one of the numbers."""
        self.numbers[name] = self.numbers.get(name, 0) + more

    def end(self):
        """Note how long it took, and return the outcome."""
        self.seconds = time.monotonic() - self.started
        return self
