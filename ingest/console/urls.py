"""The console's own pages, beside those that the admin makes of tables."""

from django.contrib import admin
from django.urls import path

from ingest.console import (
    breakers,
    breakers_override,
    journals,
    overview,
    rules,
    rules_publish,
    rules_try,
    rules_versions,
    runbook,
    tenant,
    tenant_decisions,
    tenant_tail,
    tenants,
    topics,
)
from tenants.admin.people import own_password_change

app_name = "console"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("overview/live/", overview.overview_live, name="overview_live"),
    path("overview/charts/", overview.overview_charts, name="overview_charts"),
    path("breakers/", breakers.breakers, name="breakers"),
    path("breakers/live/", breakers.breakers_live, name="breakers_live"),
    path("breakers/override/", breakers_override.override, name="override"),
    path("topics/<str:topic>/", topics.topic, name="topic"),
    path("topics/<str:topic>/live/", topics.topic_live, name="topic_live"),
    path("journals/", journals.journals, name="journals"),
    path("journals/live/", journals.journals_live, name="journals_live"),
    path("runbook/", runbook.runbook, name="runbook"),
    path("rules/", rules.rules, name="rules"),
    path("rules/<int:rule_id>/move/", rules.rules_move, name="rules_move"),
    path("rules/<int:rule_id>/enable/", rules.rules_enable, name="rules_enable"),
    path("rules/try/", rules_try.try_rules, name="rules_try"),
    path("rules/publish/", rules_publish.publish, name="rules_publish"),
    path("rules/discard/", rules_publish.discard, name="rules_discard"),
    path("rules/versions/", rules_versions.versions, name="rules_versions"),
    path("rules/versions/<int:number>/", rules_versions.version, name="rules_version"),
    path("rules/versions/<int:number>/workers/", rules_versions.workers, name="rules_workers"),
    path("rules/versions/<int:number>/roll-back/", rules_publish.roll_back, name="rules_roll_back"),
    path("senders/", tenants.tenants, name="tenants"),
    path("senders/_live/", tenants.tenants_live, name="tenants_live"),  # no tenant has such a name
    path("senders/<str:name>/", tenant.tenant, name="tenant"),
    path("senders/<str:name>/live/", tenant.tenant_live, name="tenant_live"),
    path("senders/<str:name>/tail/", tenant_tail.tail, name="tenant_tail"),
    path("senders/<str:name>/tail/address/", tenant_tail.address, name="tenant_tail_address"),
    path("senders/<str:name>/suspend/", tenant_decisions.suspend, name="tenant_suspend"),
    path("senders/<str:name>/resume/", tenant_decisions.resume, name="tenant_resume"),
    path("senders/<str:name>/delete/", tenant_decisions.delete, name="tenant_delete"),
    path("password_change/", admin.site.admin_view(own_password_change), name="own_password"),  # before the admin's own
]
