"""`python -m rollguard`: the same as the command `rollguard`."""

from rollguard.cli import main

if __name__ == "__main__":
    main()
