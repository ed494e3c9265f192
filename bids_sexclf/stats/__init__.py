"""Turn arrays into numbers: scores, intervals, regional tests and corrections.

Nothing in this room reads or writes a file, and every random draw comes from a
seed that is an argument. Where participants are related, ``group`` names their
family, and families are drawn, exchanged and flipped as whole blocks.
"""
