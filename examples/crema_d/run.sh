#!/usr/bin/env bash
# CREMA-D with the multimodal Perceiver: raw sound and pictures, six emotions, one of five folds by actor.
#
#   bash examples/crema_d/run.sh CREMA-D OUT [--perceiver DIR] [--fold K] [--modalities audio,video]
#     [--label intended|voice|face|multimodal] [--fps RATE] [--frame-size PIXELS]
#     [--accept-counts] [--accept-missing] [-- options of fairseq-train]
#
# --perceiver  folder of deepmind/multimodal-perceiver (config.json and weights); without it nothing is pretrained
# The last line printed is `test wa=... ua=... wf1=... mf1=...`. Run again, it goes on where it was interrupted.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
[ "$#" -ge 2 ] || usage "$0"
raw=$1 out=$2 perceiver='' fold=1 modalities=audio,video fps=25 frame_size=224 prepare=()
shift 2
while [ "$#" -gt 0 ]; do
    case $1 in
        --perceiver | --fold | --modalities | --fps | --frame-size)
            name=${1#--}
            printf -v "${name//-/_}" %s "${2:?$1 needs a value}" && shift
            ;;
        --label) prepare+=("$1" "${2:?--label needs one of intended, voice, face, multimodal}") && shift ;;
        --accept-counts | --accept-missing) prepare+=("$1") ;;
        --) shift && break ;;
        *) echo "error: unknown option $1" >&2 && usage "$0" ;;
    esac
    shift
done
if [ -n "$perceiver" ] && [ ! -d "$perceiver" ]; then
    echo "error: --perceiver: no such folder: '$perceiver'" >&2 && exit 2
fi

bash "$here/data-bin-scripts/crema_d.sh" "$raw" "$out" --tokenizer words --fps "$fps" --frame-size "$frame_size" \
    --faces center --workers "$workers" ${prepare[@]+"${prepare[@]}"}
run=$out/${modalities//,/_}-$fold
train "$out/data-bin" "$run" --arch perceiver_emo --protocol by_actor --fold "$fold" --modalities "$modalities" \
    --image-size "$frame_size" ${perceiver:+--perceiver "$perceiver"} \
    --optimizer adam --adam-betas "(0.9, 0.999)" --lr-scheduler polynomial_decay --lr 5e-5 --warmup-updates 500 \
    --total-num-update 22000 --clip-norm 1.0 --batch-size 2 --max-epoch 10 --patience 3 \
    --best-checkpoint-metric mf1 --maximize-best-checkpoint-metric "$@"
score "$out/data-bin" "$run"
mm-fairseq report "$run" "$run/report"
