"""Write files that are whole or absent, also when several jobs share a folder."""

import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path):
    """Give a temporary name beside `path` and rename it at the end: a file that exists is whole.

    Parameters
    ----------
    path : path-like
        Where the finished file shall lie; missing folders are made.

    Yields
    ------
    pathlib.Path
        The name to write to. It keeps the suffixes of `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-", suffix="-" + path.name)
    os.close(handle)
    os.chmod(name, 0o666 & ~_umask())
    try:
        yield Path(name)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(content, path):
    """Write a JSON file that is whole or absent.

    Parameters
    ----------
    content : dict or list
    path : path-like
    """
    with whole(path) as part:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def locked(path):
    """Hold a lock file while the block runs; others wait."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
