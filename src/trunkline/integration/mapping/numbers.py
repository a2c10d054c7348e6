"""Numbers as systems write them, to ``int`` and ``Decimal``."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from trunkline.integration.mapping.document import Number
from trunkline.integration.mapping.record import BadValue


def compile_number(rule: Number) -> Callable[[Any], Any]:
    """A function from a value (text or number) to ``int`` or ``Decimal``; it raises ``BadValue``."""
    group, mark = re.escape(rule.group_mark), re.escape(rule.decimal_mark)
    digits = rf"\d{{1,3}}(?:{group}\d{{3}})+|\d+" if group else r"\d+"
    written = re.compile(rf"([+-]?)({digits})(?:{mark}(\d+))?([+-]?)", re.ASCII)
    scale = rule.implied_decimals

    def read(value: Any) -> Any:
        if isinstance(value, bool):
            raise BadValue("is no number")
        text = str(value)
        match = written.fullmatch(text) if len(text) <= 40 else None
        if match is None or (match[1] and match[4]) or (match[4] and not rule.trailing_sign):
            raise BadValue("is no number as described")
        whole = match[2].replace(rule.group_mark, "") if rule.group_mark else match[2]
        sign = "-" if "-" in (match[1], match[4]) else ""
        fraction = match[3] or ""
        if rule.integer:
            if fraction.strip("0"):
                raise BadValue("is no whole number")
            return int(sign + whole)
        if scale:
            if fraction.strip("0"):
                raise BadValue("has a decimal mark where decimals are implied")
            return Decimal(sign + whole).scaleb(-scale)
        return Decimal(f"{sign}{whole}.{fraction}" if fraction else sign + whole)

    return read
