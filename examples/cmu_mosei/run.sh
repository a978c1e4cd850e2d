#!/usr/bin/env bash
# CMU-MOSEI with wav2vec, RoBERTa and FAb-Net, frozen, fused by inter-modal attention: sentiment, or six emotions.
#
#   bash examples/cmu_mosei/run.sh RAW OUT --wav2vec FILE --roberta DIR --fabnet FILE
#     [--target sentiment|emotions] [--labels FILE] [--folds FILE] [--emotion-threshold X]
#     [--accept-counts] [--accept-missing] [-- options of fairseq-train]
#
# RAW        the raw release, or the folder with label.csv and Raw (sentiment alone)
# --roberta  folder with model.pt, dict.txt, encoder.json, vocab.bpe
# The last line printed is `test mae=... corr=... acc7=...` or, of emotions, `test map=...`.
# Run again, it goes on where it was interrupted.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
[ "$#" -ge 2 ] || usage "$0"
raw=$1 out=$2 wav2vec='' roberta='' fabnet='' target=sentiment prepare=()
shift 2
while [ "$#" -gt 0 ]; do
    case $1 in
        --wav2vec | --roberta | --fabnet | --target) printf -v "${1#--}" %s "${2:?$1 needs a value}" && shift ;;
        --labels | --folds | --emotion-threshold) prepare+=("$1" "${2:?$1 needs a value}") && shift ;;
        --accept-counts | --accept-missing) prepare+=("$1") ;;
        --) shift && break ;;
        *) echo "error: unknown option $1" >&2 && usage "$0" ;;
    esac
    shift
done
for name in wav2vec roberta fabnet; do
    [ -e "${!name}" ] || { echo "error: --$name: no such file or folder: '${!name}'" >&2 && exit 2; }
done
case $target in
    sentiment) select=(--best-checkpoint-metric mae) ;;
    emotions) select=(--best-checkpoint-metric map --maximize-best-checkpoint-metric) ;;
    *) echo "error: --target: '$target' is neither sentiment nor emotions" >&2 && exit 2 ;;
esac

bash "$here/data-bin-scripts/cmu_mosei.sh" "$raw" "$out" --text-model "$roberta" --workers "$workers" \
    ${prepare[@]+"${prepare[@]}"}
mm-fairseq extract "$out/data-bin" --resume --workers "$workers" \
    --backbone "audio=wav2vec:$wav2vec" --backbone "text=roberta:$roberta" --backbone "video=fabnet:$fabnet"
train "$out/data-bin" "$out/$target" --arch ssl_fusion --protocol official --targets "$target" \
    --audio-backbone "wav2vec:$wav2vec" --text-backbone "roberta:$roberta" --video-backbone "fabnet:$fabnet" \
    --optimizer adam --adam-betas "(0.9, 0.98)" --adam-eps 1e-6 --weight-decay 0.1 \
    --lr-scheduler polynomial_decay --lr 3e-4 --warmup-updates 2000 --total-num-update 65000 \
    --batch-size 4 --update-freq 2 --max-epoch 32 --patience 8 "${select[@]}" "$@"
score "$out/data-bin" "$out/$target"
mm-fairseq report "$out/$target" "$out/$target/report"
