#!/usr/bin/env bash
# Seven emotions in Korean from MFCC and text, by cross-modal transformers; tested on transcripts and on recognised text.
#
#   bash examples/korean_vat/run.sh RAW OUT [--bert DIR] [--modalities audio,text] [--protocol by_script|by_person]
#     [--fold K] [--vocab-size N] [--rate HZ] [--sentences FILE] [--blocks LIST] [--accept-counts]
#     [-- options of fairseq-train]
#
# RAW       folder with train.pkl, dev.pkl, test.pkl and test_stt.pkl, or with the recordings 000/0-1.m2ts
# --bert    a BERT folder of Hugging Face (config.json, weights, tokenizer), frozen; without it token vectors are learnt
# The last line printed is `test wa=... ua=... wf1=... mf1=...`. Run again, it goes on where it was interrupted.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
[ "$#" -ge 2 ] || usage "$0"
raw=$1 out=$2 bert='' modalities=audio,text protocol=by_script fold=1 build=() vocabulary=(--vocab-size 2000)
shift 2
while [ "$#" -gt 0 ]; do
    case $1 in
        --bert | --modalities | --protocol | --fold) printf -v "${1#--}" %s "${2:?$1 needs a value}" && shift ;;
        --rate | --sentences | --blocks) build+=("$1" "${2:?$1 needs a value}") && shift ;;
        --vocab-size) vocabulary=("$1" "${2:?$1 needs a number}") && shift ;;
        --accept-counts) build+=("$1") ;;
        --) shift && break ;;
        *) echo "error: unknown option $1" >&2 && usage "$0" ;;
    esac
    shift
done
text=embedding tokenizer=("${vocabulary[@]}")
if [ -n "$bert" ]; then
    [ -d "$bert" ] || { echo "error: --bert: no such folder: '$bert'" >&2 && exit 2; }
    text=hf_text:$bert tokenizer=(--tokenizer "hf:$bert")
fi

bash "$here/data-bin-scripts/korean_vat.sh" "$raw" "$out" --modalities audio,text --workers "$workers" \
    "${tokenizer[@]}" ${build[@]+"${build[@]}"}
audio=() words=() stress=''
case ,$modalities, in *,audio,*) audio=(--audio-backbone mfcc --resample-rate 8000 --n-fft-size 400 --n-mfcc 40) ;; esac
case ,$modalities, in *,text,*) words=(--text-backbone "$text") ;; esac
if [ -n "$bert" ] && [ "${#words[@]}" -gt 0 ]; then
    mm-fairseq extract "$out/data-bin" --resume --workers "$workers" --backbone "text=$text" --max-positions-t 128
fi
run=$out/${modalities//,/_}-$protocol-$fold
train "$out/data-bin" "$run" --arch crossmodal_mult --protocol "$protocol" --fold "$fold" --modalities "$modalities" \
    ${audio[@]+"${audio[@]}"} ${words[@]+"${words[@]}"} \
    --d-model 64 --num-heads 8 --layers 4 --merge-how average \
    --optimizer adam --lr 1e-3 --clip-norm 0.8 --lr-scheduler reduce_lr_on_plateau --lr-patience 10 --lr-shrink 0.1 \
    --batch-size 64 --max-epoch 40 --patience 12 --best-checkpoint-metric ua --maximize-best-checkpoint-metric "$@"
if [ "$modalities" = audio,text ]; then
    stress=--stress=without=audio,without=text
    [ ! -d "$out/data-bin/text_asr" ] || [ "$protocol" != by_script ] || stress+=,text=text_asr
elif [ "$modalities" = text ] && [ -d "$out/data-bin/text_asr" ] && [ "$protocol" = by_script ]; then
    stress=--stress=text=text_asr
fi
score "$out/data-bin" "$run" ${stress:+"$stress"}
mm-fairseq report "$run" "$run/report"
