"""Diffusion maps to the group grid in one interpolation, through the T1w where there is one."""

from nipype.interfaces.utility import IdentityInterface, Merge
from nipype.pipeline.engine import Node, Workflow

from bids_sexclf.interfaces.ants import AlignRigid, Carry, Normalize

METHODS = {
    True: (
        "The mean b=0 volume was aligned rigidly with the T1w by mutual information; this and the "
        "T1w's registration were applied to the maps together, in one linear interpolation."
    ),
    False: (
        "Where no T1w exists, the mean b=0 volume was registered to the template's brain directly "
        "(affine and SyN, mutual information), and the maps resampled once."
    ),
}


def init_register_wf(
    *, through_t1w, template, grid_file, preparation, threads=1, name="register_wf"
):
    """Build the road from diffusion maps to the group grid.

    Parameters
    ----------
    through_t1w : bool
        Go through the participant's T1w; else straight from the mean b0 to the template.
    template : resources.Template
    grid_file : path-like
    preparation : settings.Preparation
    threads : int
    name : str

    Returns
    -------
    nipype.pipeline.engine.Workflow
        *Inputs*: b0_brain, maps, mask; t1w_brain and t1w_forward where the road leads through the
        T1w. *Outputs*: maps, mask (on the group grid), transform (dwi to T1w, or to the template).
    """
    inputnode = Node(
        IdentityInterface(fields=["b0_brain", "maps", "mask", "t1w_brain", "t1w_forward"]),
        "inputnode",
    )
    outputnode = Node(IdentityInterface(fields=["maps", "mask", "transform"]), "outputnode")
    carry = Node(Carry(reference=str(grid_file)), "carry", mem_gb=1)
    carry_mask = Node(Carry(reference=str(grid_file), threshold=True), "carry_mask", mem_gb=1)
    workflow = Workflow(name)
    if through_t1w:
        find = Node(AlignRigid(seed=preparation.random_seed), "find", mem_gb=1, n_procs=threads)
        chain = Node(Merge(2), "chain", run_without_submitting=True)
        workflow.connect(
            [
                (inputnode, find, [("b0_brain", "in_file"), ("t1w_brain", "fixed")]),
                (inputnode, chain, [("t1w_forward", "in1")]),
                (find, chain, [("transform", "in2")]),
                (find, outputnode, [("transform", "transform")]),
            ]
        )
    else:
        find = Node(
            Normalize(
                fixed=str(template.brain), sloppy=preparation.sloppy, seed=preparation.random_seed
            ),
            "find",
            mem_gb=2,
            n_procs=threads,
        )
        chain = Node(Merge(1), "chain", run_without_submitting=True)
        workflow.connect(
            [
                (inputnode, find, [("b0_brain", "in_file")]),
                (find, chain, [("forward", "in1")]),
                (find, outputnode, [("forward", "transform")]),
            ]
        )
    workflow.connect(
        [
            (inputnode, carry, [("maps", "in_files")]),
            (inputnode, carry_mask, [("mask", "in_files")]),
            (chain, carry, [("out", "transforms")]),
            (chain, carry_mask, [("out", "transforms")]),
            (carry, outputnode, [("out_files", "maps")]),
            (carry_mask, outputnode, [("out_files", "mask")]),
        ]
    )
    return workflow
