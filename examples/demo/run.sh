#!/usr/bin/env bash
# The whole way of the data on a made-up corpus in IEMOCAP's form: raw files, data-bin, training, test, report.
#
#   bash examples/demo/run.sh [OUT]
#
# OUT (default: demo) is emptied of an earlier demo first. Takes 3 to 6 minutes on two CPU cores.
set -euo pipefail
[ "${1:-}" != --help ] || set -- usage
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
[ "${1:-}" != usage ] || usage "$0"
out=${1:-demo}
SECONDS=0
step() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }

rm -rf "$out"/{raw,pretrained,prepared,data-bin,runs,crossval,report}
mkdir -p "$out"
export OMP_NUM_THREADS=1

step "1/6 toy corpus and small pretrained checkpoints"
mm-fairseq toy checkpoints "$out/pretrained" --seed 1 &
checkpoints=$!
mm-fairseq toy iemocap "$out/raw" --utterances 340 --seed 1
wait "$checkpoints"

step "2/6 prepare and binarize"
bash "$here/data-bin-scripts/iemocap.sh" "$out/raw" "$out" --accept-counts \
    --text-model "$out/pretrained/roberta" --fps 2 --workers "$workers"

step "3/6 extract the features of the frozen backbones, once for all trainings"
data=$out/data-bin
audio=wav2vec:$out/pretrained/wav2vec/wav2vec_args.pt
text=roberta:$out/pretrained/roberta
video=fabnet:$out/pretrained/fabnet/fabnet.pt
mm-fairseq extract "$data" --backbone "audio=$audio" --backbone "text=$text" --backbone "video=$video" --workers "$workers"

model=(--arch ssl_fusion --audio-backbone "$audio" --text-backbone "$text" --video-backbone "$video"
    --encoder-layers 1 --encoder-layers-cross 1 --encoder-ffn-embed-dim 128
    --dropout 0 --attention-dropout 0 --pooler-dropout 0
    --optimizer adam --adam-betas "(0.9, 0.98)" --lr-scheduler polynomial_decay --lr 2e-3
    --warmup-updates 20 --batch-size 8 --num-workers 0
    --best-checkpoint-metric wa --maximize-best-checkpoint-metric)

step "4/6 train: audio + text + video here, each modality alone beside it (logs in $out/runs)"
# learn RUN MODALITIES EPOCHS: 24 updates are an epoch
learn() {
    train "$data" "$out/runs/$1" --modalities "$2" "${model[@]}" --max-epoch "$3" --total-num-update $((24 * $3))
}
(learn video video 8 && learn text text 20) >/dev/null &
beside=$!
learn all audio,text,video 6
learn audio audio 15 >/dev/null
wait "$beside"

step "5/6 validate on test"
(score "$data" "$out/runs/video" && score "$data" "$out/runs/text") >/dev/null &
beside=$!
(score "$data" "$out/runs/all" && score "$data" "$out/runs/audio") >/dev/null
wait "$beside"

step "6/6 report"
mm-fairseq report "$out/runs/all" "$out/report" --name "audio + text + video" \
    --compare "audio=$out/runs/audio" --compare "text=$out/runs/text" \
    --compare "video=$out/runs/video" | tee "$out/report.txt"
printf '\ndone in %d s\n' "$SECONDS"
