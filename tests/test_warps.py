import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from scipy.ndimage import map_coordinates

from bids_sexclf import warps
from bids_sexclf.errors import GridError
from bids_sexclf.volumes import Grid, save, save_field

AXES = {
    "radiological": np.diag([-2.0, 2.5, 3.0]),
    "neurological": np.diag([2.0, 2.5, 3.0]),
    "sagittal": np.array([[0, 0, 3.0], [-2, 0, 0], [0, 2.5, 0]]),
}


def centred(axes, shape):
    return Grid(shape, nib.affines.from_matvec(axes, -axes @ (np.array(shape) - 1) / 2))


GRIDS = {name: centred(axes, (11, 10, 9)) for name, axes in AXES.items()}


@pytest.mark.parametrize("name", sorted(GRIDS))
def test_fsl_counts_its_first_axis_towards_the_left_of_a_radiological_image(name):
    """In FSL's frame every image is stored as a mirrored (radiological) one would be."""
    grid = GRIDS[name]
    axes = warps.fsl_axes(grid)
    first, last = apply_affine(axes, [[0, 0, 0], np.array(grid.shape) - 1])
    extent = (np.array(grid.shape) - 1) * grid.voxel_size
    mirrored = np.linalg.det(grid.affine[:3, :3]) > 0
    np.testing.assert_allclose(first, [extent[0] if mirrored else 0, 0, 0])
    np.testing.assert_allclose(last, [0 if mirrored else extent[0], *extent[1:]])
    # From FSL's frame to the world is then always a frame of negative handedness.
    assert np.linalg.det((grid.affine @ np.linalg.inv(axes))[:3, :3]) == pytest.approx(-1)


def test_images_that_overlap_in_the_world_need_no_matrix():
    for moving in GRIDS.values():
        for fixed in GRIDS.values():
            between = (
                warps.fsl_axes(fixed)
                @ np.linalg.inv(fixed.affine)
                @ moving.affine
                @ np.linalg.inv(warps.fsl_axes(moving))
            )
            np.testing.assert_allclose(
                warps.fsl_to_world(between, moving, fixed), np.eye(4), atol=1e-9
            )


@pytest.mark.parametrize("moving", sorted(GRIDS))
@pytest.mark.parametrize("fixed", sorted(GRIDS))
def test_a_field_carries_an_image_as_the_affine_it_was_made_from(tmp_path, moving, fixed):
    """The field goes through ANTs itself; truth is the affine, applied by scipy."""
    from bids_sexclf.interfaces.ants import antspyx

    moving, fixed = GRIDS[moving], GRIDS[fixed]
    world = np.array([[0.98, 0.1, 0, 1.5], [-0.1, 1.02, 0.05, -2], [0, 0, 0.97, 1], [0, 0, 0, 1]])
    image = np.random.default_rng(0).normal(size=moving.shape).astype(np.float32)
    save(image, moving.affine, tmp_path / "moving.nii.gz")
    save(np.zeros(fixed.shape, np.float32), fixed.affine, tmp_path / "fixed.nii.gz")
    voxels = np.stack(np.meshgrid(*map(np.arange, fixed.shape), indexing="ij"), axis=-1)
    there = apply_affine(world @ fixed.affine, voxels)
    points = apply_affine(warps.fsl_axes(moving) @ np.linalg.inv(moving.affine), there)
    field = warps.displacements(points, moving, fixed)
    save_field(field, fixed.affine, tmp_path / "field.nii.gz")
    ants = antspyx()
    found = ants.apply_transforms(
        ants.image_read(str(tmp_path / "fixed.nii.gz")),
        ants.image_read(str(tmp_path / "moving.nii.gz")),
        [str(tmp_path / "field.nii.gz")],
    ).numpy()
    inside = apply_affine(np.linalg.inv(moving.affine), there)
    expected = map_coordinates(image, np.moveaxis(inside, -1, 0), order=1)
    # Off the edge the two disagree by design: ANTs keeps half a voxel more.
    safe = np.all((inside > 0.01) & (inside < np.array(moving.shape) - 1.01), axis=-1)
    assert safe.sum() > 100
    np.testing.assert_allclose(found[safe], expected[safe], atol=2e-3)
    assert nib.load(tmp_path / "field.nii.gz").header.get_intent()[0] == "vector"


def test_a_warp_of_another_grid_is_refused():
    with pytest.raises(GridError, match="one vector per voxel"):
        warps.displacements(np.zeros((2, 2, 2, 3)), GRIDS["sagittal"], GRIDS["sagittal"])
