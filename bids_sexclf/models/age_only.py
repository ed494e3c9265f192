"""Baseline of age: above chance only if the ages of the sexes differ."""

from bids_sexclf.models import _table

READS = ("age_years",)
Classifier = _table.classifier(__name__, READS)
Classifier.sibling = "median_age"
