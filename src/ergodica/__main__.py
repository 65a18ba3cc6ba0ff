"""`python -m ergodica` is the command `ergodica`."""

from ergodica.cli import main

raise SystemExit(main())
