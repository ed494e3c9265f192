"""Statistics: scores, intervals, regional tests and corrections for multiple tests.

No module here reads or writes a file, and every random draw has a seed that is
an argument. The argument ``group`` holds the families of participants: families
are resampled, exchanged and flipped as whole blocks.
"""
