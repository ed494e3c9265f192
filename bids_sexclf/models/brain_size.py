"""Baseline of brain volume, which a network must beat to show more than brain size."""

from bids_sexclf.models import _table

READS = ("brain_volume_ml",)
Classifier = _table.classifier(__name__, READS)
