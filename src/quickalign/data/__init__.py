"""Preference data: read, recognise the format, check, render with the chat template, encode. No torch models."""
