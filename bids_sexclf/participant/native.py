"""T1w in two linear spaces: rotated upright in its own size, and scaled to the template."""

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from bids_sexclf.interfaces.native import AlignLinear

METHODS = (
    "In native space, the extracted brain was aligned rigidly, without scaling, by the anterior "
    "and posterior commissure [@taha2023] and the midline [@glasser2013], and resampled once by "
    "linear interpolation to {native_resolution:g} mm voxels, after smoothing to that size, over "
    "the template's field of view [@kan2020]; brain size is kept. In affine-normalized space, it "
    "was resampled once to the group grid by the affine transform that is closest to the whole "
    "registration; shape is kept, and brain size is not."
)


def init_native_wf(*, template, grid_file, preparation, name="native_wf"):
    """Build the workflow that rotates a brain upright, and that scales it to the template.

    Parameters
    ----------
    template : resources.Template
    grid_file : path-like
        Image of the group grid.
    preparation : settings.Preparation
    name : str

    Returns
    -------
    nipype.pipeline.engine.Workflow
        *Inputs*: brain, mask, forward (to the template). *Outputs*: t1w_acpc, mask_acpc,
        acpc_transform (T1w to ACPC, rigid), t1w_affine, affine_transform (T1w to template).
    """
    inputnode = Node(IdentityInterface(fields=["brain", "mask", "forward"]), "inputnode")
    outputnode = Node(
        IdentityInterface(
            fields=["t1w_acpc", "mask_acpc", "acpc_transform", "t1w_affine", "affine_transform"]
        ),
        "outputnode",
    )
    align = Node(
        AlignLinear(
            template_mask=str(template.mask),
            reference=str(grid_file),
            anatomical=template.name.startswith(("MNI152", "Phantom")),
            voxel_size=preparation.native_resolution,
        ),
        "align",
        mem_gb=1,
    )
    workflow = Workflow(name)
    workflow.connect(
        [
            (
                inputnode,
                align,
                [("brain", "in_file"), ("mask", "mask_file"), ("forward", "forward")],
            ),
            (
                align,
                outputnode,
                [
                    ("out_file", "t1w_acpc"),
                    ("mask_file", "mask_acpc"),
                    ("transform", "acpc_transform"),
                    ("affine_file", "t1w_affine"),
                    ("affine_transform", "affine_transform"),
                ],
            ),
        ]
    )
    return workflow
