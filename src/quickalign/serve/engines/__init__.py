"""What computes the tokens: one module an engine, each behind `quickalign.serve.engine.Core`."""
