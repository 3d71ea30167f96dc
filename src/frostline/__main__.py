"""`python -m frostline` is the command `frostline`."""

from frostline.cli.app import main

if __name__ == "__main__":
    main()
