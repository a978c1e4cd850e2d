#!/usr/bin/env bash
# From the raw corpus to a data-bin that fairseq-train reads: OUT/prepared and OUT/data-bin.
#
#   bash data-bin-scripts/emobox.sh RAW OUT [options of `mm-fairseq prepare emobox` and of `mm-fairseq binarize`]
#
# Interrupted, it goes on where it was when it is started again.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

flags=(--accept-missing)
valued=(--root)
build emobox "$@"
