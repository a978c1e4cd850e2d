#!/usr/bin/env bash
# CMU-MOSI: sentiment by cross-modal transformers (MulT), from recordings or from extracted features.
#
#   bash examples/cmu_mosi/run.sh RAW OUT [--bert DIR] [--fabnet FILE] [--vocab-size N] [--labels FILE]
#     [--accept-counts] [--accept-missing] [-- options of fairseq-train]
#
# RAW       the raw release, the folder with label.csv and Raw, or a feature file (.pkl): its audio, text and vision
# --bert    of recordings: a BERT folder of Hugging Face, frozen; without it token vectors are learnt
# --fabnet  of recordings: FAb-Net, frozen, for the faces; without it audio and text alone
# The last line printed is `test mae=... corr=... acc7=...`. Run again, it goes on where it was interrupted.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
[ "$#" -ge 2 ] || usage "$0"
raw=$1 out=$2 bert='' fabnet='' prepare=() vocabulary=(--vocab-size 2000)
shift 2
while [ "$#" -gt 0 ]; do
    case $1 in
        --bert | --fabnet) printf -v "${1#--}" %s "${2:?$1 needs a value}" && shift ;;
        --vocab-size) vocabulary=("$1" "${2:?$1 needs a number}") && shift ;;
        --labels) prepare+=("$1" "${2:?$1 needs a file}") && shift ;;
        --accept-counts | --accept-missing) prepare+=("$1") ;;
        --) shift && break ;;
        *) echo "error: unknown option $1" >&2 && usage "$0" ;;
    esac
    shift
done
for name in bert fabnet; do
    [ -z "${!name}" ] || [ -e "${!name}" ] || { echo "error: --$name: no such file or folder: '${!name}'" >&2 && exit 2; }
done
build=("$raw" "$out" --workers "$workers" ${prepare[@]+"${prepare[@]}"})
if [ -f "$raw" ]; then
    [ -z "$bert$fabnet" ] || { echo "error: --bert and --fabnet are for recordings; $raw is a file" >&2 && exit 2; }
    modalities=audio,text,video frozen=()
    model=(--audio-backbone features --text-backbone features --video-backbone features
        --d-model 30 --num-heads 5 --layers 5 --conv-kernel 1 --attn-dropout 0.2 --embed-dropout 0.2 --out-dropout 0.1)
    bash "$here/data-bin-scripts/cmu_mosi.sh" "${build[@]}"
else
    modalities=audio,text text=embedding tokenizer=("${vocabulary[@]}") frozen=()
    if [ -n "$bert" ]; then
        text=hf_text:$bert tokenizer=(--tokenizer "hf:$bert") frozen+=(--backbone "text=$text")
    fi
    model=(--audio-backbone mfcc --n-mfcc 40 --text-backbone "$text" --d-model 64 --num-heads 8 --layers 4)
    if [ -n "$fabnet" ]; then
        modalities+=,video frozen+=(--backbone "video=fabnet:$fabnet") model+=(--video-backbone "fabnet:$fabnet")
    fi
    bash "$here/data-bin-scripts/cmu_mosi.sh" "${build[@]}" --modalities "$modalities" "${tokenizer[@]}"
fi
if [ "${#frozen[@]}" -gt 0 ]; then
    mm-fairseq extract "$out/data-bin" --resume --workers "$workers" "${frozen[@]}"
fi
run=$out/${modalities//,/_}
train "$out/data-bin" "$run" --arch crossmodal_mult --protocol official --modalities "$modalities" "${model[@]}" \
    --optimizer adam --lr 1e-3 --clip-norm 0.8 --lr-scheduler reduce_lr_on_plateau --lr-patience 20 --lr-shrink 0.1 \
    --batch-size 24 --max-epoch 40 --patience 25 --best-checkpoint-metric mae "$@"
score "$out/data-bin" "$run"
mm-fairseq report "$run" "$run/report"
