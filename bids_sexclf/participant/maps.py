"""Diffusion maps: tensor, kurtosis and NODDI, where the shells allow them."""

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_sexclf.interfaces.fits import FitMaps
from bids_sexclf.interfaces.fsl import check_fsl

METHODS = {
    "tensor": "The diffusion tensor was fitted by weighted least squares{by} [@chung2006].",
    "kurtosis": "The diffusion kurtosis tensor was fitted by weighted least squares{by} where two "
    "or more shells allowed it [@jensen2010], with kurtosis clipped to "
    "[{low:.3g}, {high:.3g}].",
    "noddi": "NODDI [@zhang2012] was fitted by least squares where two or more shells allowed it, "
    "the mean direction of the neurites included.",
}
BY = {"native": "", "dipy": " with dipy", "fsl": " with FSL dtifit"}


def methods(provenance):
    """Write the sentences of the fits.

    Parameters
    ----------
    provenance : dict
        The choices of `settings.Preparation`.

    Returns
    -------
    str
    """
    from bids_sexclf.diffusion.families import engine_of

    low, high = provenance["kurtosis_clip"]
    return " ".join(
        METHODS[name].format(by=BY[engine_of(name, provenance["fit_engine"])], low=low, high=high)
        for name in provenance["dwi_models"]
    )


def check_tools(preparation):
    """Raise ToolError where the program of an engine is not on the PATH."""
    if preparation.fit_engine == "fsl":
        check_fsl("dtifit")


def init_maps_wf(*, preparation, threads=1, name="maps_wf"):
    """Build the workflow that fits the maps of an aligned series.

    Parameters
    ----------
    preparation : settings.Preparation
    threads : int
    name : str

    Returns
    -------
    nipype.pipeline.engine.Workflow
        *Inputs*: dwi, bval, bvec, mask. *Outputs*: maps (``tensor_FA.nii.gz``, …), counts,
        colours (of the principal direction).
    """
    inputnode = Node(IdentityInterface(fields=["dwi", "bval", "bvec", "mask"]), "inputnode")
    outputnode = Node(IdentityInterface(fields=["maps", "counts", "colours"]), "outputnode")
    fit = Node(
        FitMaps(
            models=list(preparation.dwi_models),
            engine=preparation.fit_engine,
            clip=preparation.kurtosis_clip,
            num_threads=threads,
        ),
        "fit",
        mem_gb=2,
        n_procs=threads,
    )

    workflow = Workflow(name)
    workflow.connect(
        [
            (
                inputnode,
                fit,
                [("dwi", "in_file"), ("bval", "bval"), ("bvec", "bvec"), ("mask", "mask")],
            ),
            (
                fit,
                outputnode,
                [("out_files", "maps"), ("counts", "counts"), ("colours", "colours")],
            ),
        ]
    )
    return workflow
