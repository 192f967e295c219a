"""`python -m specbeam <verb>`: the same as `specbeam <verb>`."""

from specbeam.cli import main

if __name__ == "__main__":
    main()
