"""Fake programs for tools that cannot be had: they write down their command line."""

import os
import stat
import sys

import pytest

PROGRAM = """#!{python}
import json, sys
from pathlib import Path
with open({record!r}, "a") as record:
    record.write(json.dumps([{name!r}, *sys.argv[1:]]) + "\\n")
{body}
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Put programs on the PATH, each a few lines of Python; give the command lines they saw."""
    folder, record = tmp_path / "bin", tmp_path / "commands.jsonl"
    folder.mkdir()
    record.touch()

    def install(**bodies):
        for name, body in bodies.items():
            path = folder / name
            text = PROGRAM.format(python=sys.executable, record=str(record), name=name, body=body)
            path.write_text(text)
            path.chmod(path.stat().st_mode | stat.S_IEXEC)
        return record

    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FSLOUTPUTTYPE", "NIFTI")
    return install
