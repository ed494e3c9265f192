"""What a scan of the head tells of the brain in it.

``brain`` holds masks and quality numbers, ``acpc`` the alignment by AC, PC and midline,
``morphometry`` volumes and intensities of tissues and regions; ``freesurfer`` reads that tool's
tables of the same.
"""
