#!/bin/sh
# Build the image and run both levels in it: nothing of the host but the folders that are bound.
#   APPTAINER: the program; APPTAINER_BUILD_ARGS: e.g. --build-arg bootstrap=docker-archive ...
set -eu
cd "$(dirname "$0")/../.."
apptainer=${APPTAINER:-apptainer}
if ! $apptainer --version >/dev/null 2>&1; then
    echo "test-apptainer: found no Apptainer, needed '$apptainer --version' to answer." >&2
    exit 69
fi
. tests/containers/common.sh
sif=$folder/bids_sexclf.sif
$apptainer build --build-arg templates="${TEMPLATES-}" ${APPTAINER_BUILD_ARGS:-} "$sif" singularity.def
levels $apptainer run --containall --cleanenv \
    --bind "$folder/bids:/bids:ro" --bind "$folder/out:/out" --bind "$folder/work:/work" "$sif"
echo "test-apptainer: passed; results in $folder"
