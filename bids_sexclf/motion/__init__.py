"""Correct head motion and eddy currents: predict volumes, register, rotate gradients, resample."""
