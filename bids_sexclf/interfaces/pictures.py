"""Pictures of masks and registrations, drawn by nireports."""

import re
from pathlib import Path

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)


class _PictureOut(TraitedSpec):
    out_file = File(exists=True)


class _OutlineIn(BaseInterfaceInputSpec):
    background = File(exists=True, mandatory=True)
    mask = File(exists=True, mandatory=True)
    cuts = traits.Int(5, usedefault=True, desc="slices along each axis")


class DrawOutline(SimpleInterface):
    """Draw the outline of a mask on a volume."""

    input_spec, output_spec = _OutlineIn, _PictureOut

    def _run_interface(self, runtime):
        import nibabel as nib

        mask = nib.load(self.inputs.mask)
        pictures = _draw(
            nib.load(self.inputs.background), mask, mask, "background", None, self.inputs.cuts
        )
        self._results["out_file"] = _compose(runtime.cwd, pictures)
        return runtime


class _FlickerIn(BaseInterfaceInputSpec):
    fixed = File(exists=True, mandatory=True)
    moved = File(exists=True, mandatory=True)
    outline = File(exists=True, desc="mask whose outline is drawn on both")
    labels = traits.Tuple(traits.Str, traits.Str)
    cuts = traits.Int(5, usedefault=True, desc="slices along each axis")


class DrawFlicker(SimpleInterface):
    """Draw two volumes on one grid so that they flicker under the pointer."""

    input_spec, output_spec = _FlickerIn, _PictureOut

    def _run_interface(self, runtime):
        import nibabel as nib

        fixed, moved = nib.load(self.inputs.fixed), nib.load(self.inputs.moved)
        given = isdefined(self.inputs.outline)
        outline = nib.load(self.inputs.outline) if given else None
        box, (first, second) = outline if given else fixed, self.inputs.labels
        pictures = [
            _draw(fixed, box, outline, "fixed-image", first, self.inputs.cuts),
            _draw(moved, box, outline, "moving-image", second, self.inputs.cuts),
        ]
        self._results["out_file"] = _compose(runtime.cwd, *pictures)
        return runtime


def _draw(volume, box, outline, name, label, cuts):
    """Draw slices through the box of a mask along the three axes."""
    import matplotlib
    from nilearn.image import threshold_img
    from nireports.reportlets.mosaic import plot_registration
    from nireports.reportlets.utils import cuts_from_bbox

    matplotlib.rcParams["svg.hashsalt"] = "bids_sexclf"
    return plot_registration(
        volume,
        name,
        estimate_brightness=True,
        label=label,
        contour=outline,
        compress=False,
        cuts=cuts_from_bbox(threshold_img(box, 1e-3, copy_header=True), cuts=cuts),
    )


def _compose(folder, *pictures):
    """Put one or two drawings into one SVG."""
    from nireports.reportlets.utils import compose_view

    path = Path(folder, "picture.svg")
    compose_view(pictures[0], pictures[1] if len(pictures) > 1 else None, out_file=path)
    path.write_text(_same_every_time(path.read_text()))
    return str(path)


def _same_every_time(svg):
    """Replace random ids by numbers and drop the date: the same run gives the same file."""
    svg = re.sub(r"<dc:date>.*?</dc:date>", "", svg)
    seen = {}
    return re.sub(
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}",
        lambda found: str(seen.setdefault(found.group(), len(seen))),
        svg,
    )
