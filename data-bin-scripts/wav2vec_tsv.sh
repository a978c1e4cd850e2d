#!/usr/bin/env bash
# From the raw corpus to a data-bin that fairseq-train reads: OUT/prepared and OUT/data-bin.
#
#   bash data-bin-scripts/wav2vec_tsv.sh RAW OUT [options of `mm-fairseq prepare wav2vec_tsv` and of `mm-fairseq binarize`]
#
# --text-model DIR  RoBERTa's dict.txt, encoder.json and vocab.bpe; short for --tokenizer gpt2:DIR
# Interrupted, it goes on where it was when it is started again.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

flags=(--accept-counts --accept-missing)
valued=(--root --target --classes --labels)
build wav2vec_tsv "$@"
