"""Which agent a call gets: the first route whose trunk and called number match. Pure."""

from collections.abc import Iterable

from trunkline.config import Route
from trunkline.telephony.legs.contract import LegInfo


def find_route(routes: Iterable[Route], info: LegInfo) -> Route | None:
    """The first matching route, or None. A route without a trunk or number matches every one."""
    for route in routes:
        if route.trunk is not None and route.trunk != info.trunk:
            continue
        if route.dnis is not None and not route.dnis.matches(info.dnis):
            continue
        return route
    return None
