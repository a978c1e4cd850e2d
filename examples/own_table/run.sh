#!/usr/bin/env bash
# Your own recordings: any csv or tsv to a trained audio (MFCC) and text model, scored on test.
#
#   bash examples/own_table/run.sh CSV OUT [options of `mm-fairseq prepare table`] [-- options of fairseq-train]
#
# for example
#   bash examples/own_table/run.sh corpus.csv out \
#     --columns audio=path,text=transcript,speaker=speaker,split=split --target emotion=label
#
# The last line printed is `test wa=... ua=... wf1=... mf1=...`, or the metrics of the target's kind.
# Run again, it goes on where it was interrupted.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
[ "$#" -ge 2 ] || usage "$0"
csv=$1 out=$2
shift 2
prepare=()
while [ "$#" -gt 0 ] && [ "$1" != -- ]; do
    prepare+=("$1")
    shift
done
[ "$#" -eq 0 ] || shift

mkdir -p "$out"
mm-fairseq prepare table "$csv" "$out/prepared" --overwrite ${prepare[@]+"${prepare[@]}"}
mm-fairseq binarize "$out/prepared" "$out/data-bin" --workers "$workers" --resume

# What is there of audio and text; video wants a pretrained backbone and is left to the options of fairseq-train.
there=$(cd "$out/data-bin" && ls -d audio text video 2>/dev/null || true)
modalities=$(grep -v video <<<"$there" | paste -sd, || true)
# The checkpoint is chosen by the metric that fits what is predicted; of several targets, by the loss.
case $(grep -o '"kind": "[a-z_]*"' "$out/data-bin/targets.json" | cut -d'"' -f4 | paste -sd,) in
    single | binary_each) select=(--best-checkpoint-metric ua --maximize-best-checkpoint-metric) ;;
    multilabel) select=(--best-checkpoint-metric map --maximize-best-checkpoint-metric) ;;
    regression) select=(--best-checkpoint-metric mae) ;;
    *) select=(--best-checkpoint-metric loss) ;;
esac
train "$out/data-bin" "$out/run" --modalities "${modalities:-video}" \
    --arch ssl_fusion --audio-backbone mfcc:hop=320 --text-backbone embedding:dim=64 \
    --embed-dim 128 --encoder-ffn-embed-dim 512 --encoder-layers 2 --fusion shallow --dropout 0.2 \
    --optimizer adam --adam-betas "(0.9, 0.98)" --weight-decay 1e-4 --clip-norm 5 \
    --lr-scheduler polynomial_decay --lr 1e-3 --warmup-updates 50 --total-num-update 1300 --max-update 1300 \
    --batch-size 16 "${select[@]}" "$@"
score "$out/data-bin" "$out/run"
mm-fairseq report "$out/run" "$out/report"
