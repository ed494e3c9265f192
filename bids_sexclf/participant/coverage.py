"""How much of the brain a scan has measured, on the group grid."""

from nipype.pipeline.engine import Node

from bids_sexclf.interfaces.ants import Carry
from bids_sexclf.interfaces.coverage import MarkMeasured


def connect_t1w_coverage(workflow, anat_wf, quality, write, grid_file):
    """Wire the coverage of the T1w to the quality file and the derivatives.

    Parameters
    ----------
    workflow, anat_wf : nipype.pipeline.engine.Workflow
        Of the participant-session; the one that prepares its T1w.
    quality, write : nipype.pipeline.engine.Node
    grid_file : path-like
        Image of the group grid.
    """
    measured = Node(MarkMeasured(), "t1w_measured", mem_gb=0.5)
    carry = Node(Carry(reference=str(grid_file), threshold=True), "t1w_coverage", mem_gb=1)
    workflow.connect(
        [
            (anat_wf, measured, [("outputnode.t1w", "in_file")]),
            (measured, carry, [("out_file", "in_files")]),
            (anat_wf, carry, [("outputnode.forward", "transforms")]),
            (carry, quality, [("out_files", "covered_t1w")]),
            (carry, write, [("out_files", "covered_t1w")]),
        ]
    )


def connect_dwi_coverage(workflow, dwi_wf, register_wf, quality, write):
    """Wire the coverage of the diffusion series to the quality file and the derivatives.

    Parameters
    ----------
    workflow, dwi_wf, register_wf : nipype.pipeline.engine.Workflow
        Of the participant-session; those that prepare the series and carry its maps.
    quality, write : nipype.pipeline.engine.Node
    """
    measured = Node(MarkMeasured(), "dwi_measured", mem_gb=0.5)
    workflow.connect(
        [
            (dwi_wf, measured, [("outputnode.b0", "in_file")]),
            (measured, register_wf, [("out_file", "inputnode.measured")]),
            (register_wf, quality, [("outputnode.covered", "covered_dwi")]),
            (register_wf, write, [("outputnode.covered", "covered_dwi")]),
        ]
    )
