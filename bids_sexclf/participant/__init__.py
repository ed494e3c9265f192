"""How one participant's scans become maps: one Nipype workflow per file."""
