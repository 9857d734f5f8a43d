"""The formats of training data: each module knows one, says when a row looks like it, and makes records of it."""
