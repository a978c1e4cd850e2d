#!/usr/bin/env bash
# AudioSet as clips in class folders: segments of sound and picture as nodes of one graph.
#
#   bash examples/audioset/run.sh RAW OUT --wav2vec2 FILE --r3d FILE [--cached] [--multilabel] [--modalities audio,video]
#     [--audio-segments 7680,8017] [--video-segments 20,20] [--accept-missing] [-- options of fairseq-train]
#
# RAW         folder with train and eval, or with the class folders
# --wav2vec2  wav2vec_small.pt; of it the convolutions
# --r3d       torchvision's r3d_18-b3b3357e.pth
# --audio-segments, --video-segments  length and step, in samples at 16 kHz and in frames at 20 a second
# --cached    leave both frozen and run them once, instead of training them too, at a tenth of the learning rate
# The last line printed is `test wa=... ua=... wf1=... mf1=...`, of --multilabel `test map=... mf1=... ...`.
# Run again, it goes on where it was interrupted.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
[ "$#" -ge 2 ] || usage "$0"
raw=$1 out=$2 wav2vec2='' r3d='' modalities=audio,video cached='' event=single prepare=()
audio_segments=7680,8017 video_segments=20,20
shift 2
while [ "$#" -gt 0 ]; do
    case $1 in
        --wav2vec2 | --r3d | --modalities | --audio-segments | --video-segments)
            name=${1#--}
            printf -v "${name//-/_}" %s "${2:?$1 needs a value}" && shift
            ;;
        --cached) cached=yes ;;
        --multilabel) event=multilabel && prepare+=("$1") ;;
        --accept-missing) prepare+=("$1") ;;
        --) shift && break ;;
        *) echo "error: unknown option $1" >&2 && usage "$0" ;;
    esac
    shift
done
for name in wav2vec2 r3d; do
    [ -e "${!name}" ] || { echo "error: --$name: no such file: '${!name}'" >&2 && exit 2; }
done

bash "$here/data-bin-scripts/audioset.sh" "$raw" "$out" --modalities audio,video --fps 20 --faces none \
    --workers "$workers" ${prepare[@]+"${prepare[@]}"}
data=$out/data-bin run=$out/$event-${modalities//,/_}
audio=wav2vec2_segments:$wav2vec2,window=${audio_segments%,*},hop=${audio_segments#*,}
video=r3d_18:$r3d,window=${video_segments%,*},hop=${video_segments#*,}
learns=(--finetune-backbones "$modalities" --backbone-lr 5e-5)
if [ -n "$cached" ]; then
    learns=() run=$run-cached
    mm-fairseq extract "$data" --resume --workers "$workers" --backbone "audio=$audio" --backbone "video=$video"
fi
train "$data" "$run" --arch av_graph --modalities "$modalities" --audio-backbone "$audio" --video-backbone "$video" \
    ${learns[@]+"${learns[@]}"} --label-smoothing 0.3 --class-weights balanced \
    --optimizer adam --lr 5e-4 --weight-decay 1e-4 --clip-norm 1.0 \
    --lr-scheduler cosine --lr-period-updates 2500 --t-mult 2 --lr-shrink 1 \
    --batch-size 2 --update-freq 2 --max-update 50000 --patience 3 \
    --best-checkpoint-metric map --maximize-best-checkpoint-metric "$@"
score "$data" "$run"
mm-fairseq report "$run" "$run/report"
