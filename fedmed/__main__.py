"""`python -m fedmed`."""

from fedmed.cli.app import main

if __name__ == "__main__":
    main()
