"""A saved model: all that turns the maps of a new participant into evidence, in one folder.

The folder holds JSON and safetensors alone; nothing in it is executed. ``bundle.json`` lists the
digest of every other file and is written last.
"""

from bids_sexclf.bundle.saved import FOLDER, Bundle

__all__ = ["FOLDER", "Bundle"]
