"""Age alone: above chance only where the sexes are not of one age."""

from bids_sexclf.models import _table

READS = ("age_years",)
Classifier = _table.classifier(__name__, READS)
Classifier.sibling = "median_age"
