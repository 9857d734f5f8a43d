"""The `quickalign` command."""
