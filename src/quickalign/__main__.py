"""`python -m quickalign`: the command `quickalign`."""

from quickalign.cli.main import run

if __name__ == "__main__":
    run()
