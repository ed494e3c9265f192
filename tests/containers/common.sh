# Shared by docker.sh and apptainer.sh: a small phantom, and the two levels run on it.
bin=${BIN:+$BIN/}
folder=${FOLDER:-$(mktemp -d)}
mkdir -p "$folder/out" "$folder/work"
chmod 777 "$folder" "$folder/out" "$folder/work"
"${bin}bids-sexclf-phantom" "$folder/bids" --participants 8 --seed 3
chmod -R a+rX "$folder/bids"

# level COMMAND...: run both levels through the command that starts the container
levels() {
    "$@" /bids /out participant -w /work --template Phantom --resolution 4 --sloppy --gibbs none --nprocs 2 \
        --templates-dir /bids/derivatives/phantom/templates
    "$@" /bids /out group -w /work --n-folds 2 --epochs 2 --bootstraps 100 --permutations 100 \
        --nprocs 2
    test -s "$folder/out/study-default/report.html"
    test -s "$folder/out/sub-001.html"
    "${bin}bids-validator-deno" "$folder/out"
}
