#!/usr/bin/env bash
# From the raw corpus to a data-bin that fairseq-train reads: OUT/prepared and OUT/data-bin. RAW is the file of features.
#
#   bash data-bin-scripts/features.sh RAW OUT [options of `mm-fairseq prepare features` and of `mm-fairseq binarize`]
#
# Interrupted, it goes on where it was when it is started again.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

flags=(--single-labels --number-ids --accept-counts)
valued=(--modalities)
build features "$@"
