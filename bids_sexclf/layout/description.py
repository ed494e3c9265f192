"""Write the description of a BIDS dataset, and the patterns that validators ignore."""

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bids_sexclf import __version__
from bids_sexclf.disk import whole, write_json
from bids_sexclf.locks import hold

TOOLS = (
    "antspyx",
    "picsl_greedy",
    "nipype",
    "dipy",
    "nibabel",
    "numpy",
    "pybids",
    "nireports",
    "matplotlib",
    "torch",
    "lightning",
    "nilearn",
    "scikit-learn",
)

IGNORED = (
    "*_dwimap.*",
    "*_xfm.*",
    "*_quality.json",
    "*_morphometry.*",
    "*_desc-preproc_dwi.bv*",
    "*.html",
    "study-*",
    "figures",
    "**/figures",
    "work",
    "logs",
    "*.part-*",
    "excluded.*",
    "worklist.*",
    "ratings.*",
)


def versions(tools=TOOLS):
    """List the versions of this package and of the tools that are installed.

    Parameters
    ----------
    tools : iterable of str
        Names of distributions.

    Returns
    -------
    dict of str to str
    """
    installed = {"bids-sexclf": __version__}
    for tool in tools:
        try:
            installed[tool] = version(tool)
        except PackageNotFoundError:
            continue
    return installed


def write_description(out, name, sources=None, dataset_type="derivative"):
    """Write dataset_description.json and .bidsignore of a folder of derivatives.

    Parameters
    ----------
    out : path-like
    name : str
        Title of the dataset.
    sources : dict, optional
        Link name to the path of a dataset these derivatives were made from.
    dataset_type : {"derivative", "raw"}
    """
    links = {key: Path(path).resolve().as_uri() for key, path in (sources or {}).items()}
    content = {
        "Name": name,
        "BIDSVersion": "1.10.0",
        "DatasetType": dataset_type,
        "GeneratedBy": [{"Name": "bids_sexclf", "Version": __version__}],
        "HowToAcknowledge": "Cite the software and the methods named in the reports.",
    }
    container = os.environ.get("BIDS_SEXCLF_CONTAINER")
    if container:
        content["GeneratedBy"][0]["Container"] = {"Type": container, "Tag": __version__}
    if links:
        content["DatasetLinks"] = links
        content["SourceDatasets"] = [{"URL": uri} for uri in links.values()]
    write_json(content, Path(out) / "dataset_description.json")
    write_ignored(out)


def write_ignored(out, patterns=IGNORED):
    """Add patterns to .bidsignore; safe where several jobs share the folder.

    Parameters
    ----------
    out : path-like
    patterns : iterable of str
    """
    path = Path(out) / ".bidsignore"
    with hold(path.with_name(".bidsignore.lock"), ".bidsignore is being written"):
        present = path.read_text().splitlines() if path.exists() else []
        missing = [pattern for pattern in (*patterns, ".bidsignore.lock") if pattern not in present]
        if missing:
            with whole(path) as part:
                part.write_text("\n".join([*present, *missing]) + "\n")
