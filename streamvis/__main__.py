"""`python -m streamvis` is `streamvis`."""

from streamvis.cli import main

if __name__ == "__main__":
    main()
