"""``python -m sklearn_ternary`` is the command line."""

from sklearn_ternary.cli import main

if __name__ == "__main__":
    main()
