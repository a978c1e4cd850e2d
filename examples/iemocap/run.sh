#!/usr/bin/env bash
# IEMOCAP with wav2vec, RoBERTa and FAb-Net, frozen, fused by inter-modal attention; one fold of leave-one-session-out.
#
#   bash examples/iemocap/run.sh IEMOCAP_full_release OUT --wav2vec FILE --roberta DIR --fabnet FILE \
#     [--fold K] [--classes 4|5|6|9] [--label-map FILE] [--accept-counts] [--accept-missing] [-- options of fairseq-train]
#
# --roberta  folder with model.pt, dict.txt, encoder.json, vocab.bpe
# The last line printed is `test wa=... ua=... wf1=... mf1=...`. Run again, it goes on where it was interrupted.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
[ "$#" -ge 2 ] || usage "$0"
raw=$1 out=$2 fold=1 wav2vec='' roberta='' fabnet='' prepare=()
shift 2
while [ "$#" -gt 0 ]; do
    case $1 in
        --wav2vec | --roberta | --fabnet | --fold) printf -v "${1#--}" %s "${2:?$1 needs a value}" && shift ;;
        --classes | --label-map) prepare+=("$1" "${2:?$1 needs a value}") && shift ;;
        --accept-counts | --accept-missing | --swap-faces) prepare+=("$1") ;;
        --) shift && break ;;
        *) echo "error: unknown option $1" >&2 && usage "$0" ;;
    esac
    shift
done
for name in wav2vec roberta fabnet; do
    [ -e "${!name}" ] || { echo "error: --$name: no such file or folder: '${!name}'" >&2 && exit 2; }
done

bash "$here/data-bin-scripts/iemocap.sh" "$raw" "$out" --text-model "$roberta" --workers "$workers" \
    ${prepare[@]+"${prepare[@]}"}
mm-fairseq extract "$out/data-bin" --resume --workers "$workers" \
    --backbone "audio=wav2vec:$wav2vec" --backbone "text=roberta:$roberta" --backbone "video=fabnet:$fabnet"
train "$out/data-bin" "$out/fold$fold" --arch ssl_fusion --protocol leave_one_session_out --fold "$fold" \
    --audio-backbone "wav2vec:$wav2vec" --text-backbone "roberta:$roberta" --video-backbone "fabnet:$fabnet" \
    --optimizer adam --adam-betas "(0.9, 0.98)" --adam-eps 1e-6 --weight-decay 0.1 \
    --lr-scheduler polynomial_decay --lr 3e-4 --warmup-updates 600 --total-num-update 16000 \
    --batch-size 4 --update-freq 2 --max-epoch 32 --patience 8 \
    --best-checkpoint-metric ua --maximize-best-checkpoint-metric "$@"
score "$out/data-bin" "$out/fold$fold"
mm-fairseq report "$out/fold$fold" "$out/fold$fold/report"
