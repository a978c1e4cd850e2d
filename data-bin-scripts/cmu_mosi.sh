#!/usr/bin/env bash
# From the raw corpus to a data-bin that fairseq-train reads: OUT/prepared and OUT/data-bin.
#
#   bash data-bin-scripts/cmu_mosi.sh RAW OUT [options of `mm-fairseq prepare cmu_mosi` and of `mm-fairseq binarize`]
#
# RAW               the raw release, the folder with label.csv and Raw, or a feature file (.pkl)
# --text-model DIR  RoBERTa's dict.txt, encoder.json and vocab.bpe; short for --tokenizer gpt2:DIR
# Interrupted, it goes on where it was when it is started again.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

flags=(--accept-counts --accept-missing --single-labels --number-ids)
valued=(--labels --folds --modalities)
build cmu_mosi "$@"
