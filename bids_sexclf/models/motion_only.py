"""Head motion alone: above chance where one sex, or one age, lay more still than the other."""

from bids_sexclf.models import _table

READS = ("motion_mm",)
Classifier = _table.classifier(__name__, READS)
