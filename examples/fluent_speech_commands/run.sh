#!/usr/bin/env bash
# Fluent Speech Commands: raw audio in pieces and the words of the transcript; action, object and location.
#
#   bash examples/fluent_speech_commands/run.sh fluent_speech_commands_dataset OUT \
#     [--protocol official|unseen_speakers|unseen_phrasings] [--fold K] \
#     [--csv DIR] [--accept-counts] [--accept-missing] [-- options of fairseq-train]
#
# One checkpoint, trained with each modality withheld now and then, is scored on test with both, with audio alone and
# with text alone, beside the transcript look-up. The last lines printed are `test action wa=... ua=... wf1=... mf1=...`
# and the same of location and object. Run again, it goes on where it was interrupted.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
[ "$#" -ge 2 ] || usage "$0"
raw=$1 out=$2 protocol=official fold=1 prepare=()
shift 2
while [ "$#" -gt 0 ]; do
    case $1 in
        --protocol | --fold) printf -v "${1#--}" %s "${2:?$1 needs a value}" && shift ;;
        --csv) prepare+=("$1" "${2:?--csv needs a folder}") && shift ;;
        --accept-counts | --accept-missing) prepare+=("$1") ;;
        --) shift && break ;;
        *) echo "error: unknown option $1" >&2 && usage "$0" ;;
    esac
    shift
done
run=$out/$protocol-$fold

bash "$here/data-bin-scripts/fluent_speech_commands.sh" "$raw" "$out" --tokenizer words --workers "$workers" \
    ${prepare[@]+"${prepare[@]}"}
train "$out/data-bin" "$run" --arch wave_text --protocol "$protocol" --fold "$fold" --modalities audio,text \
    --heads action=6,object=14,location=4 --modality-dropout 0.5 \
    --optimizer adam --lr-scheduler inverse_sqrt --lr 5e-4 --warmup-updates 100 --clip-norm 1.0 \
    --batch-size 32 --max-epoch 30 --best-checkpoint-metric exact_match --maximize-best-checkpoint-metric "$@"
score "$out/data-bin" "$run"
mm-fairseq validate-subsets "$out/data-bin" --path "$run/checkpoint_best.pt" --out "$run/subsets" --metric wf1,exact_match
mm-fairseq report "$run" "$run/report"
