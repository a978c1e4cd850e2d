#!/usr/bin/env bash
# From the raw corpus to a data-bin that fairseq-train reads: OUT/prepared and OUT/data-bin. RAW is the table, csv or tsv.
#
#   bash data-bin-scripts/table.sh RAW OUT [options of `mm-fairseq prepare table` and of `mm-fairseq binarize`]
#
# for example
#   bash data-bin-scripts/table.sh corpus.csv out --columns audio=file,text=words,speaker=speaker --target emotion=feeling
#
# --text-model DIR  RoBERTa's dict.txt, encoder.json and vocab.bpe; short for --tokenizer gpt2:DIR
# Interrupted, it goes on where it was when it is started again.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

flags=(--accept-missing)
valued=(--columns --target --classes --label-separator --votes --weight --attributes --root --delimiter --protocol --folds)
build table "$@"
