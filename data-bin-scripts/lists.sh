#!/usr/bin/env bash
# From the raw corpus to a data-bin that fairseq-train reads: OUT/prepared and OUT/data-bin. RAW is the folder of the lists.
#
#   bash data-bin-scripts/lists.sh RAW OUT [options of `mm-fairseq prepare lists` and of `mm-fairseq binarize`]
#
# --text-model DIR  RoBERTa's dict.txt, encoder.json and vocab.bpe; short for --tokenizer gpt2:DIR
# Interrupted, it goes on where it was when it is started again.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

flags=(--accept-missing)
valued=(--classes --map --root --gpt2)
build lists "$@"
