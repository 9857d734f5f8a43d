"""One file a command: it parses, calls the room that does the work, and draws what comes back."""
