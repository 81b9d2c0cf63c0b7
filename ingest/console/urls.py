"""The console's own pages, beside those that the admin makes of tables."""

from django.urls import path

from ingest.console import breakers, journals, overview, rules

app_name = "console"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("overview/live/", overview.overview_live, name="overview_live"),
    path("overview/charts/", overview.overview_charts, name="overview_charts"),
    path("breakers/", breakers.breakers, name="breakers"),
    path("journals/", journals.journals, name="journals"),
    path("rules/", rules.rules, name="rules"),
]
