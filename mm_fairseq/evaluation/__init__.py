"""Many runs of fairseq's own commands and what they add up to: cross-validation, subsets of modalities, comparison."""
