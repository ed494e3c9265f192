"""Estimate and correct the susceptibility distortion of a diffusion series.

``fieldmaps`` chooses the method and computes with fields; ``opposite`` estimates the field from
two scans that were encoded in opposite directions. Arrays in, arrays out.
"""
