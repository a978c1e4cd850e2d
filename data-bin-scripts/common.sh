# For the scripts beside this one: `build CORPUS RAW OUT [option ...]` writes OUT/prepared and OUT/data-bin.
#
# Of the options, --label-map, --accept-leaks and those in the arrays `flags` and `valued` (which take a value) go to
# `mm-fairseq prepare`, those in `binarize_options` to `mm-fairseq binarize`; others are an error before anything is done.
# Interrupted, it goes on where it was when it is started again.
set -euo pipefail

binarize_options=(--workers --nshard --rank --slurm --ray --resume --overwrite --modalities --tokenizer --vocab-size
    --fps --frame-size --faces --max-seconds --shard-size
    --no-budget --follow-links)

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# has NAME ITEM ...: whether NAME is one of the items.
has() {
    local name=$1 item
    shift
    for item in "$@"; do
        [ "$item" != "$name" ] || return 0
    done
    return 1
}

build() {
    local corpus=$1
    shift
    if [ "$#" -lt 2 ]; then
        sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2
        exit 2
    fi
    if ! command -v mm-fairseq >/dev/null && [ -x "$here/.venv/bin/mm-fairseq" ]; then
        PATH="$here/.venv/bin:$PATH"
    fi
    command -v mm-fairseq >/dev/null || { echo "error: no mm-fairseq; run 'make .venv' in $here first" >&2; exit 1; }
    local raw=$1 out=$2 prepare=() binarize=(--resume)
    shift 2
    while [ "$#" -gt 0 ]; do
        if has "$1" --accept-leaks ${flags[@]+"${flags[@]}"}; then
            prepare+=("$1")
        elif has "${1%%=*}" --label-map ${valued[@]+"${valued[@]}"}; then
            prepare+=("$1")
            if [[ $1 != *=* ]]; then
                prepare+=("${2:?$1 needs a value}")
                shift
            fi
        elif [[ $1 == --text-model=* ]]; then
            binarize+=(--tokenizer "gpt2:${1#*=}")
        elif [ "$1" = --text-model ]; then
            binarize+=(--tokenizer "gpt2:${2:?--text-model needs a folder}")
            shift
        elif [[ $1 != --* ]] || has "${1%%=*}" "${binarize_options[@]}"; then
            binarize+=("$1")
        else
            echo "error: $1: unknown; mm-fairseq prepare $corpus has --label-map --accept-leaks" \
                "${flags[*]-} ${valued[*]-}; mm-fairseq binarize has ${binarize_options[*]}; and there is --text-model" >&2
            exit 2
        fi
        shift
    done
    mkdir -p "$out"
    mm-fairseq prepare "$corpus" "$raw" "$out/prepared" --overwrite ${prepare[@]+"${prepare[@]}"}
    mm-fairseq binarize "$out/prepared" "$out/data-bin" "${binarize[@]}"
}
