"""`python -m vmrtool`."""

from vmrtool.cli import main

if __name__ == "__main__":
    main()
