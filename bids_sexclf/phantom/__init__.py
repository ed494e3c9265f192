"""Make synthetic BIDS datasets with a planted truth: for the demo, the tests, power analysis.

Whole heads drawn from the MNI152 tissue maps, warped, biased and noisy, with
diffusion scans from known tensors and kurtosis. One region differs between the
sexes by a chosen effect size; ``derivatives/phantom`` says which, and by how much.
"""
