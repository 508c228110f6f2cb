"""An alarm for queries whose codes are unusual, with a known rate of false alarms.

``views`` are the small changes of an image that its code should survive; ``unusual``
measures how odd a query's code is; ``conformal`` turns that into p-values against clean
queries; ``alarm`` is all of it for a network and a database. What it finds, and what an
attacker who knows it still does: docs/search_alarm.md.
"""

from cgat_jax.alarm.alarm import Alarm, AlarmReport
from cgat_jax.alarm.unusual import label_set_centers

__all__ = ["Alarm", "AlarmReport", "label_set_centers"]
