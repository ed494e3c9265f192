"""Let the processes that the tests start import the attacks."""

import os
from pathlib import Path

FOLDER = str(Path(__file__).parent)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (FOLDER, os.environ.get("PYTHONPATH"))))
