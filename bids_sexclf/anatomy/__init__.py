"""Measure the brain in a scan of the head.

``brain`` holds masks and quality numbers, ``acpc`` the alignment by AC, PC and midline,
``morphometry`` volumes and intensities of tissues and regions; ``freesurfer`` reads the tables of
that tool.
"""
