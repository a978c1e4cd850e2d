#!/usr/bin/env bash
# MELD: emotion (or sentiment) of an utterance from its words and its sound, no pretrained model.
#
#   bash examples/meld/run.sh MELD.Raw OUT [--modalities text|audio|audio,text] [--target emotion|sentiment] \
#     [--context N] [--accept-counts] [--accept-missing] [-- options of fairseq-train]
#
# Without --modalities: audio and text where there are clips, text where there are the three tables alone.
# --context N puts the N utterances before it, with their speakers, in front of the words of each.
# The last line printed is `test wa=... ua=... wf1=... mf1=...`. Run again, it goes on where it was interrupted.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
[ "$#" -ge 2 ] || usage "$0"
raw=$1 out=$2 modalities='' target=emotion prepare=()
shift 2
while [ "$#" -gt 0 ]; do
    case $1 in
        --modalities | --target) printf -v "${1#--}" %s "${2:?$1 needs a value}" && shift ;;
        --context) prepare+=("$1" "${2:?--context needs a number}" --context-in-text) && shift ;;
        --accept-counts | --accept-missing) prepare+=("$1") ;;
        --) shift && break ;;
        *) echo "error: unknown option $1" >&2 && usage "$0" ;;
    esac
    shift
done

bash "$here/data-bin-scripts/meld.sh" "$raw" "$out" --tokenizer words --workers "$workers" ${prepare[@]+"${prepare[@]}"}
if [ -z "$modalities" ]; then
    modalities=text
    [ ! -d "$out/data-bin/audio" ] || modalities=audio,text
fi
run=$out/${modalities//,/-}-$target
backbones=()
case ,$modalities, in *,audio,*)
    backbones+=(--audio-backbone mfcc:hop=320 --time-masks 2 --time-mask-width 0.08) ;;
esac
case ,$modalities, in *,text,*)
    backbones+=(--text-backbone embedding:dim=128 --word-drop 0.3) ;;
esac
train "$out/data-bin" "$run" --arch crossmodal_mult --modalities "$modalities" --targets "$target" \
    ${backbones[@]+"${backbones[@]}"} --d-model 128 --num-heads 4 --layers 1 --merge-how average --embed-dropout 0.3 \
    --logit-adjustment 0.3 --optimizer adam --weight-decay 1e-4 --clip-norm 1 \
    --lr-scheduler inverse_sqrt --lr 1e-3 --warmup-updates 100 --batch-size 64 --max-epoch 10 \
    --best-checkpoint-metric wf1 --maximize-best-checkpoint-metric "$@"
score "$out/data-bin" "$run"
mm-fairseq report "$run" "$run/report"
