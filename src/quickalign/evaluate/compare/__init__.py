"""Side by side: the answers of several models to one set of prompts, and who wins by rules, a judge, or people."""
