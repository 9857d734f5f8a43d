"""Taking a trained model away: merged, checked against what was trained, described, and hashed."""
