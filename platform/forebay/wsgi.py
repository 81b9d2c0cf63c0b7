"""The WSGI application of the web workers: the ingest lane in front of Django."""

import multiprocessing
import os
import signal
import threading

from django.core.wsgi import get_wsgi_application

from forebay.local.leash import die_with

# A stop that comes before the server has set its own handlers must not be lost in those inherited from its parent.
signal.signal(signal.SIGTERM, signal.SIG_DFL)
_parent = multiprocessing.parent_process()
if _parent is not None and _parent.pid is not None:
    # A worker that outlived its server would keep the port and take half of the next server's connections.
    die_with(_parent.pid)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "forebay.settings")
_django = get_wsgi_application()

from django.conf import settings  # noqa: E402  # the settings module is named above

from forebay.one_cpu import LOOK_INTERVAL_S, OneCpu  # noqa: E402  # with the rest of what needs the settings
from ingest.api.lane import Lane  # noqa: E402  # models must be loaded before the views that the lane holds
from ingest.chores import Chore, Chores  # noqa: E402  # as above
from ingest.worker import worker  # noqa: E402  # as above

application = Lane(_django)
# What a dead worker left in its journal must not wait for this one's first request. On a thread, so that a disk that
# refuses ends no server: the next request tries again.
threading.Thread(target=worker, name="worker-start", daemon=True).start()
if _parent is not None and settings.FOREBAY_WORKER_ON_ONE_CPU:
    # Nobody stops it: it has nothing to hand over, and a stopping worker wants its CPU to the end.
    Chores([Chore(LOOK_INTERVAL_S, OneCpu().look)]).start()
