"""Baseline of head motion: above chance if motion differs between the sexes or ages."""

from bids_sexclf.models import _table

READS = ("motion_mm",)
Classifier = _table.classifier(__name__, READS)
