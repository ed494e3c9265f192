"""Fill a region with the mean white matter of the participant: the published rule.

Grey matter never looks like this, so models react to the unlikely picture: in simulations this
rule names many regions without an effect. It makes no claim.

References
----------
Chen J, et al. Deep learning with diffusion MRI as in vivo microscope reveals sex-related
differences in human white matter microstructure. Sci Rep 2024.
doi:10.1038/s41598-024-60340-y
"""

from bids_sexclf.errors import InputError
from bids_sexclf.fills import constant

CLAIMS = False
SAYS = "the mean of the participant's white matter [@chen2024]"


def prepare(tested):
    """Prepare the fill.

    Parameters
    ----------
    tested : fills.Tested
        Its ``white`` is averaged over.

    Returns
    -------
    callable
        See :func:`bids_sexclf.fills.prepare`.

    Raises
    ------
    InputError
        If the white matter of the template has no voxel on this grid.
    """
    white = tested.white
    if not white.any():
        raise InputError(
            "Found no voxel of white matter on the grid of the study, needed some to average. "
            "Choose the fill 'donors', or a finer grid."
        )
    return lambda volume, row: [constant(volume[..., white].mean(-1), volume)]
