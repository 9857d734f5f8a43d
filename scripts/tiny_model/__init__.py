"""Builds the embedded default model and the sample preference set from text that this project wrote."""
