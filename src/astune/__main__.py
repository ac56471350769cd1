"""``python -m astune`` is the ``astune`` command."""

from astune.cli import main

if __name__ == "__main__":
    main()
