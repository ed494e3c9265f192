"""Diffusion maps: the tensor always, kurtosis where the shells allow it."""

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_sexclf.interfaces.diffusion import FitMaps

METHODS = (
    "The diffusion tensor was fitted by weighted least squares [@chung2006], and the "
    "diffusion kurtosis tensor where two or more shells allowed it [@jensen2010], with kurtosis "
    "clipped to [{low:.3g}, {high:.3g}]."
)


def init_maps_wf(*, preparation, name="maps_wf"):
    """Build the road from an aligned series to its maps.

    Parameters
    ----------
    preparation : settings.Preparation
    name : str

    Returns
    -------
    nipype.pipeline.engine.Workflow
        *Inputs*: dwi, bval, bvec, mask. *Outputs*: maps (``tensor_FA.nii.gz``, …), counts.
    """
    inputnode = Node(IdentityInterface(fields=["dwi", "bval", "bvec", "mask"]), "inputnode")
    outputnode = Node(IdentityInterface(fields=["maps", "counts"]), "outputnode")
    fit = Node(FitMaps(clip=preparation.kurtosis_clip), "fit", mem_gb=3)

    workflow = Workflow(name)
    workflow.connect(
        [
            (
                inputnode,
                fit,
                [("dwi", "in_file"), ("bval", "bval"), ("bvec", "bvec"), ("mask", "mask")],
            ),
            (fit, outputnode, [("out_files", "maps"), ("counts", "counts")]),
        ]
    )
    return workflow
