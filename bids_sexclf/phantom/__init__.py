"""Make synthetic BIDS datasets with a planted effect: for the demo, tests and power analysis.

Heads are made from the MNI152 tissue maps, warped, with bias field and noise, and with
diffusion scans from known tensors and kurtosis. One region differs between the
sexes by a chosen effect size; ``derivatives/phantom`` names the region and the effect.
"""
