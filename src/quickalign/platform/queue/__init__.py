"""Who may start now, and why the others wait."""
