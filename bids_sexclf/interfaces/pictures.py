"""Pictures of masks and registrations, through nireports."""

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


class DrawOutline(SimpleInterface):
    """Draw the outline of a mask on a volume."""

    input_spec, output_spec = _OutlineIn, _PictureOut

    def _run_interface(self, runtime):
        from nireports.interfaces.reporting.masks import SimpleShowMaskRPT

        show = SimpleShowMaskRPT(
            background_file=self.inputs.background,
            mask_file=self.inputs.mask,
            compress_report=False,
        )
        self._results["out_file"] = show.run(cwd=runtime.cwd).outputs.out_report
        return runtime


class _FlickerIn(BaseInterfaceInputSpec):
    fixed = File(exists=True, mandatory=True)
    moved = File(exists=True, mandatory=True)
    outline = File(exists=True, desc="mask whose outline is drawn on both")
    labels = traits.Tuple(traits.Str, traits.Str)


class DrawFlicker(SimpleInterface):
    """Draw two volumes on one grid so that they flicker under the pointer."""

    input_spec, output_spec = _FlickerIn, _PictureOut

    def _run_interface(self, runtime):
        from nireports.interfaces.reporting.base import SimpleBeforeAfterRPT

        outline = {"wm_seg": self.inputs.outline} if isdefined(self.inputs.outline) else {}
        first, second = self.inputs.labels
        show = SimpleBeforeAfterRPT(
            before=self.inputs.fixed,
            after=self.inputs.moved,
            before_label=first,
            after_label=second,
            compress_report=False,
            **outline,
        )
        path = show.run(cwd=runtime.cwd).outputs.out_report
        self._results["out_file"] = str(Path(path))
        return runtime
