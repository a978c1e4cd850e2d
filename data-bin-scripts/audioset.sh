#!/usr/bin/env bash
# From the raw corpus to a data-bin that fairseq-train reads: OUT/prepared and OUT/data-bin.
#
#   bash data-bin-scripts/audioset.sh RAW OUT [options of `mm-fairseq prepare audioset` and of `mm-fairseq binarize`]
#
# Interrupted, it goes on where it was when it is started again.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

flags=(--accept-missing --multilabel --whole-videos)
valued=(--train-csv --eval-csv --ontology)
build audioset "$@"
