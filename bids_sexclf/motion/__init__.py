"""Head motion and eddy currents of a diffusion series: predict, register, turn, resample."""
