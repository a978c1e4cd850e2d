#!/usr/bin/env bash
# Every system of this package on the same utterances, in one data-bin and one report.
#
#   bash examples/compare/run.sh OUT [--systems LIST] [--fold K] [--utterances N]
#   bash examples/compare/run.sh OUT --raw IEMOCAP_full_release --wav2vec FILE --roberta DIR --fabnet FILE
#     [--perceiver DIR] [--systems LIST] [--fold K] [--fps RATE] [--max-epoch N] [--accept-counts]
#
# --systems  of ssl_fusion,crossmodal_mult,wave_text,av_graph,perceiver_emo; all of them by default
# --raw      without it a toy corpus in IEMOCAP's form is made, with small pretrained files, and the systems are small
# The last line printed is `test wa=... ua=... wf1=... mf1=...` of the first system; the table above it has all.
# Run again, it goes on where it was interrupted.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
[ "$#" -ge 1 ] && [[ $1 != -* ]] || usage "$0"
out=$1 systems=ssl_fusion,crossmodal_mult,wave_text,av_graph,perceiver_emo
raw='' wav2vec='' roberta='' fabnet='' perceiver='' fold=1 fps=10 utterances=340 max_epoch='' prepare=()
shift
while [ "$#" -gt 0 ]; do
    case $1 in
        --raw | --wav2vec | --roberta | --fabnet | --perceiver | --systems | --fold | --fps | --utterances | --max-epoch)
            name=${1#--}
            printf -v "${name//-/_}" %s "${2:?$1 needs a value}" && shift
            ;;
        --accept-counts) prepare+=("$1") ;;
        *) echo "error: unknown option $1" >&2 && usage "$0" ;;
    esac
    shift
done
mkdir -p "$out"

# once FOLDER COMMAND...: make a folder that is not there yet; an interrupted one is made again
once() {
    [ ! -e "$1" ] || return 0
    rm -rf "$1.part"
    "${@:2}" "$1.part"
    mv "$1.part" "$1"
}

if [ -z "$raw" ]; then
    small=yes raw=$out/raw prepare=(--accept-counts)
    once "$out/raw" mm-fairseq toy iemocap --utterances "$utterances" --seed 1
    once "$out/pretrained" mm-fairseq toy checkpoints --seed 1
    wav2vec=$out/pretrained/wav2vec/wav2vec_args.pt
    roberta=$out/pretrained/roberta
    fabnet=$out/pretrained/fabnet/fabnet.pt
else
    small=''
    for name in wav2vec roberta fabnet; do
        [ -e "${!name}" ] || { echo "error: --$name: no such file or folder: '${!name}'" >&2 && exit 2; }
    done
fi

bash "$here/data-bin-scripts/iemocap.sh" "$raw" "$out" --text-model "$roberta" --fps "$fps" --workers "$workers" \
    ${prepare[@]+"${prepare[@]}"}
data=$out/data-bin
audio=wav2vec:$wav2vec text=roberta:$roberta video=fabnet:$fabnet
mm-fairseq extract "$data" --resume --workers "$workers" \
    --backbone "audio=$audio" --backbone "text=$text" --backbone "video=$video"

# learn SYSTEM MODALITIES UPDATES [options]: train it, and test the checkpoint that is best on valid
learn() {
    local steps=(--max-update "$3")
    [ -z "$max_epoch" ] || steps=(--max-epoch "$max_epoch")
    train "$data" "$out/$1" --arch "$1" --modalities "$2" --protocol leave_one_session_out --fold "$fold" \
        --optimizer adam --num-workers 0 "${steps[@]}" \
        --best-checkpoint-metric ua --maximize-best-checkpoint-metric "${@:4}"
    score "$data" "$out/$1"
}

ssl_fusion() {
    local model=(--audio-backbone "$audio" --text-backbone "$text" --video-backbone "$video" --adam-betas "(0.9, 0.98)"
        --lr-scheduler polynomial_decay)
    if [ -n "$small" ]; then
        learn ssl_fusion audio,text,video 150 "${model[@]}" --encoder-layers 1 --encoder-layers-cross 1 \
            --encoder-ffn-embed-dim 128 --dropout 0 --attention-dropout 0 --pooler-dropout 0 \
            --lr 2e-3 --warmup-updates 20 --total-num-update 150 --batch-size 8
    else
        learn ssl_fusion audio,text,video 16000 "${model[@]}" --adam-eps 1e-6 --weight-decay 0.1 \
            --lr 3e-4 --warmup-updates 600 --total-num-update 16000 --batch-size 4 --update-freq 2 --patience 8
    fi
}

crossmodal_mult() {
    local model=(--audio-backbone mfcc --text-backbone "$text" --video-backbone "$video" --merge-how average)
    if [ -n "$small" ]; then
        learn crossmodal_mult audio,text,video 300 "${model[@]}" --d-model 32 --num-heads 4 --layers 1 \
            --lr-scheduler inverse_sqrt --lr 2e-3 --warmup-updates 20 --batch-size 8
    else
        learn crossmodal_mult audio,text,video 16000 "${model[@]}" --d-model 64 --num-heads 8 --layers 4 \
            --lr-scheduler inverse_sqrt --lr 1e-3 --warmup-updates 200 --clip-norm 0.8 --batch-size 32 --patience 12
    fi
}

wave_text() {
    local model=(--lr-scheduler inverse_sqrt --clip-norm 1.0)
    if [ -n "$small" ]; then
        learn wave_text audio,text 400 "${model[@]}" --d-model 64 --num-heads 4 --ffn-dim 128 \
            --lr 1e-3 --warmup-updates 40 --batch-size 8
    else
        learn wave_text audio,text 16000 "${model[@]}" --lr 5e-4 --warmup-updates 100 --batch-size 32 --patience 12
    fi
}

av_graph() {
    local model=(--audio-backbone "$audio" --video-backbone "$video" --lr-scheduler inverse_sqrt --clip-norm 1.0)
    if [ -n "$small" ]; then
        learn av_graph audio,video 300 "${model[@]}" --hidden-channels 64 --num-layers 2 --max-audio-nodes 400 \
            --max-video-nodes 100 --lr 2e-3 --warmup-updates 20 --batch-size 8
    else
        learn av_graph audio,video 16000 "${model[@]}" --max-audio-nodes 936 --max-video-nodes 301 \
            --lr 5e-4 --weight-decay 1e-4 --warmup-updates 200 --batch-size 32 --patience 12
    fi
}

# Its pictures are of another size than FAb-Net's: the same utterances once more, with video for it.
perceiver_emo() {
    local video=(--fps 25 --frame-size 224)
    [ -z "$small" ] || video=(--fps 2.5 --frame-size 48)
    mm-fairseq binarize "$out/prepared" "$out/data-bin-pixels" --resume --workers "$workers" \
        --modalities audio,video "${video[@]}"
    data=$out/data-bin-pixels
    if [ -n "$small" ]; then
        learn perceiver_emo audio,video 1000 --audio-backbone waveform:gain=8 --image-size 48 --num-frames 2 \
            --audio-samples-per-frame 3200 --samples-per-patch 320 --d-model 720 --num-latents 32 --d-latents 64 \
            --num-self-attends-per-block 2 --num-self-attention-heads 4 --output-num-channels 64 --label-query-channels 64 \
            --head-dim 64 \
            --initializer-range 0.12 --perceiver-dropout 0 --head-dropout 0 --lr-scheduler polynomial_decay --lr 5e-4 \
            --warmup-updates 100 --total-num-update 1000 --clip-norm 1.0 --batch-size 16 \
            --validate-interval 4 --save-interval 4
    else
        learn perceiver_emo audio,video 22000 --image-size 224 ${perceiver:+--perceiver "$perceiver"} \
            --lr-scheduler inverse_sqrt --clip-norm 1.0 --lr 5e-5 --warmup-updates 500 --batch-size 2 --patience 3
    fi
}

others=()
for system in ${systems//,/ }; do
    case $system in
        ssl_fusion | crossmodal_mult | wave_text | av_graph | perceiver_emo) ;;
        *) echo "error: --systems: no system $system" >&2 && usage "$0" ;;
    esac
done
for system in ${systems//,/ }; do
    printf '\n== %s\n' "$system"
    [ -e "$out/$system/test/results.json" ] || "$system"
    [ "$system" = "${systems%%,*}" ] || others+=(--compare "$system=$out/$system")
done
mm-fairseq report "$out/${systems%%,*}" "$out/report" ${others[@]+"${others[@]}"} | tee "$out/report.txt"
