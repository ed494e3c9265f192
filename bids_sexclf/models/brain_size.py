"""Brain volume alone: what a network has to beat before it may speak of structure."""

from bids_sexclf.models import _table

READS = ("brain_volume_ml",)
Classifier = _table.classifier(__name__, READS)
