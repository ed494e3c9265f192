"""Head motion alone: above chance where one sex lay more still than the other."""

from bids_sexclf.models import _table

READS = ("motion_mm",)
Classifier = _table.classifier(__name__, READS)
