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
further=("$@")

mkdir -p "$out"
mm-fairseq prepare table "$csv" "$out/prepared" --overwrite ${prepare[@]+"${prepare[@]}"}
mm-fairseq binarize "$out/prepared" "$out/data-bin" --workers "$workers" --resume

# given OPTION: its value among the options of fairseq-train
given() {
    local word previous=
    for word in ${further[@]+"${further[@]}"}; do
        [ "$previous" != "$1" ] || echo "$word"
        [[ $word != "$1="* ]] || echo "${word#*=}"
        previous=$word
    done
}

# What is there of audio and text; video wants a pretrained backbone and is left to the options of fairseq-train.
there=$(cd "$out/data-bin" && ls -d audio text video 2>/dev/null || true)
modalities=$(grep -v video <<<"$there" | paste -sd, || true)
modalities=${modalities:-video}
# The checkpoint is chosen by the metric that fits what is predicted; of several targets, by the loss.
case $(grep -o '"kind": "[a-z_]*"' "$out/data-bin/targets.json" | cut -d'"' -f4 | paste -sd,) in
    single | binary_each) select=(--best-checkpoint-metric ua --maximize-best-checkpoint-metric) ;;
    multilabel) select=(--best-checkpoint-metric map --maximize-best-checkpoint-metric) ;;
    regression) select=(--best-checkpoint-metric mae) ;;
    *) select=(--best-checkpoint-metric loss) ;;
esac
# Another architecture or backbone brings its own sizes; augmentation needs something to act on.
model=() augment=() used=$(given --modalities)
[ -n "$(given --arch)" ] || model=(--arch crossmodal_mult --d-model 128 --num-heads 4 --layers 2 --merge-how average
    --attn-dropout 0.1 --attn-dropout-a 0.1 --max-len-for-audio 900 --max-len-for-text 512)
case ,${used:-$modalities}, in *,audio,*)
    [ -n "$(given --audio-backbone)" ] || augment+=(--audio-backbone mfcc:hop=320 --time-masks 2 --time-mask-width 0.08) ;;
esac
case ,${used:-$modalities}, in *,text,*)
    [ -n "$(given --text-backbone)" ] || augment+=(--text-backbone embedding:dim=64 --word-drop 0.2) ;;
esac
train "$out/data-bin" "$out/run" --modalities "$modalities" \
    ${model[@]+"${model[@]}"} ${augment[@]+"${augment[@]}"} \
    --optimizer adam --adam-betas "(0.9, 0.98)" --weight-decay 1e-4 --clip-norm 5 \
    --lr-scheduler polynomial_decay --lr 1e-3 --warmup-updates 100 --total-num-update 2200 --max-update 2200 \
    --batch-size 16 "${select[@]}" ${further[@]+"${further[@]}"}
score "$out/data-bin" "$out/run"
mm-fairseq report "$out/run" "$out/report"
