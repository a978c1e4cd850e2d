#!/usr/bin/env bash
# IEMOCAP: RoBERTa on the text and the BERT over vq-wav2vec's codes on the audio, both trained; one fold of
# leave-one-session-out.
#
#   bash examples/semiemo/run.sh IEMOCAP_full_release OUT --vq FILE --bert DIR --roberta DIR \
#     [--fold K] [--accept-counts] [-- options of fairseq-train, as --stack-up]
#
# --vq       vq-wav2vec_kmeans.pt
# --bert     folder of bert_kmeans.tar: bert_kmeans.pt and dict.txt
# --roberta  folder with model.pt, dict.txt, encoder.json, vocab.bpe
# The last line printed is `test wa=... ua=... wf1=... mf1=...`. Run again, it goes on where it was interrupted.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
[ "$#" -ge 2 ] || usage "$0"
raw=$1 out=$2 fold=1 vq='' bert='' roberta='' prepare=()
shift 2
while [ "$#" -gt 0 ]; do
    case $1 in
        --vq | --bert | --roberta | --fold) printf -v "${1#--}" %s "${2:?$1 needs a value}" && shift ;;
        --accept-counts) prepare+=("$1") ;;
        --) shift && break ;;
        *) echo "error: unknown option $1" >&2 && usage "$0" ;;
    esac
    shift
done
for name in vq bert roberta; do
    [ -e "${!name}" ] || { echo "error: --$name: no such file or folder: '${!name}'" >&2 && exit 2; }
done

bash "$here/data-bin-scripts/iemocap.sh" "$raw" "$out" --text-model "$roberta" --modalities audio,text \
    --workers "$workers" ${prepare[@]+"${prepare[@]}"}
# The codes never learn, so that they are made once.
mm-fairseq extract "$out/data-bin" --resume --workers "$workers" --backbone "audio=vq_wav2vec:$vq"
train "$out/data-bin" "$out/fold$fold" --arch semiemo --protocol leave_one_session_out --fold "$fold" \
    --audio-backbone "vq_bert:$bert,vq=$vq" --text-backbone "roberta:$roberta" \
    --binary-target-iemocap --num-classes 8 --a-only --t-only --init-token 0 --separator-token 2 \
    --optimizer adam --adam-betas "(0.9, 0.98)" --adam-eps 1e-6 --weight-decay 0.1 --clip-norm 0.0 \
    --lr-scheduler polynomial_decay --lr 1e-5 --total-num-update 2760 --warmup-updates 165 \
    --dropout 0.1 --attention-dropout 0.1 --pooler-dropout 0.1 --encoder-attention-heads 2 --encoder-layers-cross 1 \
    --batch-size 4 --update-freq 4 --max-epoch 10 --best-checkpoint-metric loss "$@"
score "$out/data-bin" "$out/fold$fold"
mm-fairseq report "$out/fold$fold" "$out/fold$fold/report"
