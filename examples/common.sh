# Sourced by the recipes: the commands of this checkout's .venv where none are active, and the steps they share.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if ! command -v fairseq-train >/dev/null && [ -x "$here/.venv/bin/fairseq-train" ]; then
    PATH="$here/.venv/bin:$PATH"
fi
command -v fairseq-train >/dev/null || { echo "error: no fairseq-train here; run 'make .venv' in $here first" >&2; exit 1; }
user_dir=$(mm-fairseq user-dir)
workers=${WORKERS:-$(nproc)}
export PYTHONWARNINGS=${PYTHONWARNINGS:-ignore}

# usage FILE: print the comment block at the top of a recipe and stop
usage() {
    awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$1" >&2
    exit 2
}

# logged FILE COMMAND...: all output behind what is in FILE, the lines of finished epochs to the screen, and the reason if it fails
logged() {
    local log=$1
    shift
    mkdir -p "$(dirname "$log")"
    if ! "$@" 2>&1 | tee -a "$log" | sed -un 's/.* | INFO | \(train\|valid\|test\) | \(\([^|]*|\)\{0,5\}[^|]*\).*/\1 | \2/p'; then
        tail -n 5 "$log" | cut -c1-300 >&2
        echo "error: failed: ${*:1:2} ...; the whole log is $log" >&2
        return 1
    fi
}

# train DATA_BIN RUN [options]: fairseq-train with this package; goes on where an interrupted run stopped
train() {
    logged "$2/train.log" fairseq-train "$1" --user-dir "$user_dir" --task emotion_prediction \
        --criterion emotion_prediction_cri --save-dir "$2" --no-epoch-checkpoints --log-format simple "${@:3}"
}

# score DATA_BIN RUN [options]: fairseq-validate of the best checkpoint on test; writes RUN/test/predictions.jsonl
score() {
    rm -f "$2/test.log"
    logged "$2/test.log" fairseq-validate "$1" --user-dir "$user_dir" --task emotion_prediction \
        --path "$2/checkpoint_best.pt" --valid-subset test --results-path "$2" --batch-size 32 --log-format simple "${@:3}"
}
