#!/usr/bin/env bash
# From the raw corpus to a data-bin that fairseq-train reads: OUT/prepared and OUT/data-bin.
#
#   bash data-bin-scripts/iemocap.sh RAW OUT [options of `mm-fairseq prepare iemocap` and of `mm-fairseq binarize`]
#
# --text-model DIR  the folder of the GPT-2 BPE of RoBERTa (dict.txt, encoder.json, vocab.bpe); the same as --tokenizer gpt2:DIR
# Interrupted, it goes on where it was when it is started again.
set -euo pipefail

if [ "$#" -lt 2 ]; then
    sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
raw=$1 out=$2
shift 2

prepare=() binarize=()
while [ "$#" -gt 0 ]; do
    case $1 in
        --accept-counts | --swap-faces) prepare+=("$1") ;;
        --classes) prepare+=("$1" "${2:?--classes needs 4 or 6}") && shift ;;
        --classes=*) prepare+=("$1") ;;
        --text-model) binarize+=(--tokenizer "gpt2:${2:?--text-model needs a folder}") && shift ;;
        --text-model=*) binarize+=(--tokenizer "gpt2:${1#*=}") ;;
        *) binarize+=("$1") ;;
    esac
    shift
done

mm_fairseq() {
    "${PYTHON:-python}" -m mm_fairseq "$@"
}

mkdir -p "$out"
mm_fairseq prepare iemocap "$raw" "$out/prepared" --overwrite ${prepare[@]+"${prepare[@]}"}
mm_fairseq binarize "$out/prepared" "$out/data-bin" --resume ${binarize[@]+"${binarize[@]}"}
