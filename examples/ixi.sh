#!/bin/sh
# Prepare and study the IXI T1w scans on two cores, unattended; resumes where it stopped.
#   examples/ixi.sh BIDS_FOLDER OUTPUT_FOLDER        TEMPLATEFLOW_HOME holds MNI152NLin6Asym
set -eu
bin=${BIN:+$BIN/}
here=$(dirname "$0")
# Exit code 3 says that some participants were left out: the studies go on with the others.
"${bin}bids-sexclf" "$1" "$2" participant --resolution 2 -w "$2/work" || [ $? -eq 3 ]
"${bin}bids-sexclf" "$1" "$2" group
for study in affine native adjusted age; do
    "${bin}bids-sexclf" "$1" "$2" group --study "$here/ixi_$study.toml"
done
