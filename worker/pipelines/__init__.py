"""The pipelines that Sluice ships. What is not listed here is not callable."""

from worker.pipeline import Catalogue
from worker.pipelines import (
    cost_alert,
    research,
    ticket_triage,
    ticket_triage_v1,
    ticket_triage_v2,
)

PIPELINES: Catalogue = {
    (each.name, each.version): each
    for each in (
        ticket_triage_v1.triage,
        ticket_triage_v2.triage,
        ticket_triage.triage,
        cost_alert.cost_alert,
        research.research,
    )
}
