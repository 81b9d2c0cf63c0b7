"""Celery's schedules are made from the settings whenever beat starts: whoever edited them in the console would lose it,
so the pages that django_celery_beat brings for that are taken away.
"""

from django.contrib import admin
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)

admin.site.unregister([ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule])
