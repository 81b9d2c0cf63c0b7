"""`python -m forebay_client tail`: the console script `forebay`, where no script is installed."""

import sys

from forebay_client.tail.command import main

sys.exit(main())
