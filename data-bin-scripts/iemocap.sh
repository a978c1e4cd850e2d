#!/usr/bin/env bash
# From the raw corpus to a data-bin that fairseq-train reads: OUT/prepared and OUT/data-bin.
#
#   bash data-bin-scripts/iemocap.sh RAW OUT [options of `mm-fairseq prepare iemocap` and of `mm-fairseq binarize`]
#
# --text-model DIR  RoBERTa's dict.txt, encoder.json and vocab.bpe; short for --tokenizer gpt2:DIR
# Interrupted, it goes on where it was when it is started again.
set -euo pipefail

if [ "$#" -lt 2 ]; then
    sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if ! command -v mm-fairseq >/dev/null && [ -x "$here/.venv/bin/mm-fairseq" ]; then
    PATH="$here/.venv/bin:$PATH"
fi
command -v mm-fairseq >/dev/null || { echo "error: no mm-fairseq; run 'make .venv' in $here first" >&2; exit 1; }
raw=$1 out=$2
shift 2

prepare=() binarize=(--resume)
while [ "$#" -gt 0 ]; do
    case $1 in
        --accept-counts | --swap-faces | --classes=*) prepare+=("$1") ;;
        --classes) prepare+=("$1" "${2:?--classes needs 4 or 6}"); shift ;;
        --text-model=*) binarize+=(--tokenizer "gpt2:${1#*=}") ;;
        --text-model) binarize+=(--tokenizer "gpt2:${2:?--text-model needs a folder}"); shift ;;
        *) binarize+=("$1") ;;
    esac
    shift
done

mkdir -p "$out"
mm-fairseq prepare iemocap "$raw" "$out/prepared" --overwrite ${prepare[@]+"${prepare[@]}"}
mm-fairseq binarize "$out/prepared" "$out/data-bin" "${binarize[@]}"
