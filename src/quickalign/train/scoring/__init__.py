"""From encoded rows to the log-probability of every answer, and to its gradient.

A `Scorer` cuts an optimiser batch into micro-batches and scores them: `plain` is the simple padded way and the oracle,
`packed` computes once what rows begin with alike. A `Reference` gives the same numbers under the frozen reference
model.
"""
