"""From encoded rows to the log-probability of every answer, and to its gradient.

A `Scorer` cuts an optimiser batch into micro-batches and scores them: `plain` is the simple padded way and the oracle,
`packed` computes every prompt once. A `Reference` gives the same numbers under the frozen reference model.
"""
