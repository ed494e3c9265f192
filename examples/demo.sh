#!/bin/sh
# Write a small synthetic dataset in which fractional anisotropy (FA) of one region differs between
# the sexes, prepare it, study FA, and compare the findings with what was planted.
#   examples/demo.sh FOLDER        BIN: folder of the programs; PARTICIPANTS: how many
set -eu
folder=${1:-demo}
bin=${BIN:+$BIN/}
participants=${PARTICIPANTS:-24}
"${bin}bids-sexclf-phantom" "$folder/bids" --participants "$participants" --seed 1 \
    --effect-map FA
"${bin}bids-sexclf" "$folder/bids" "$folder/out" participant \
    --template Phantom --templates-dir "$folder/bids/derivatives/phantom/templates" \
    --resolution 4 --sloppy --denoise none --gibbs none  # quick; these scans have no ringing
"${bin}bids-sexclf" "$folder/bids" "$folder/out" group --maps FA
"${bin}python" -m bids_sexclf.phantom.verdict "$folder/bids" "$folder/out/study-default"
