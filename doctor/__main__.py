"""``python -m doctor``: the same as the console script."""

from doctor.cli import main

if __name__ == "__main__":
    main()
