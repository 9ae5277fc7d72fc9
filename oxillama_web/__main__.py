"""`python -m oxillama_web` is the command `oxillama-web`."""

from .cli import main

raise SystemExit(main())
