"""Models: their cards, where their weights come from, what they need. Knows nothing of torch."""
