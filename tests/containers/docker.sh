#!/bin/sh
# Build the image and run both levels in it: no network, read-only root, a uid that nobody knows.
set -eu
cd "$(dirname "$0")/../.."
docker=${DOCKER:-docker}
if ! $docker info >/dev/null 2>&1; then
    echo "test-docker: found no running Docker engine, needed one ($docker info). Start it." >&2
    exit 69
fi
$docker build --network=host --build-arg TEMPLATES="${TEMPLATES-}" -t bids_sexclf:test .
. tests/containers/common.sh
levels $docker run --rm --read-only --network=none -u 12345:12345 \
    -v "$folder/bids:/bids:ro" -v "$folder/out:/out" -v "$folder/work:/work" bids_sexclf:test
echo "test-docker: passed; results in $folder"
