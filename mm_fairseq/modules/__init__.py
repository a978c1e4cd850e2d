"""Plain torch parts. They know numbers and tensors; no configuration comes in here.

Notation: B batch, T frames, C channels, D width. `padding_mask` is bool, True = pad; `present` is bool, shape (B).
"""
