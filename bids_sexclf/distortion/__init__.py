"""Where susceptibility moved the signal of a diffusion series.

``fieldmaps`` chooses the method and holds the arithmetic of fields; ``opposite`` finds the field
between two scans that were encoded in opposite directions. Arrays in, arrays out.
"""
