import contextlib
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.integration.mapping.dates import compile_date
from trunkline.integration.mapping.record import BadValue

DAYS = st.dates(dt.date(1940, 1, 1), dt.date(2039, 12, 31))


@pytest.mark.parametrize(
    ("pattern", "written", "day"),
    [
        ("CYYMMDD", "1261103", "2026-11-03"),
        ("CYYMMDD", "991231", "1999-12-31"),
        ("CYYMMDD", "0991231", "1999-12-31"),
        ("CYYMMDD", "1000101", "2000-01-01"),
        ("CYYMMDD", "101", "1900-01-01"),
        ("YYMMDD", "261103", "2026-11-03"),
        ("YYMMDD", "401103", "1940-11-03"),
        ("YYMMDD", "391103", "2039-11-03"),
        ("YYDDD", "26307", "2026-11-03"),
        ("YYDDD", "24366", "2024-12-31"),
        ("CYYDDD", "126307", "2026-11-03"),
        ("YYYYDDD", "2026001", "2026-01-01"),
        ("excel", "1", "1900-01-01"),
        ("excel", "59", "1900-02-28"),
        ("excel", "61", "1900-03-01"),
        ("excel", "46329", "2026-11-03"),
        ("excel", "46329.75", "2026-11-03"),
        ("iso", "2026-11-03", "2026-11-03"),
        ("iso", "2026-11-03T10:00:00Z", "2026-11-03"),
        ("%Y%m%d", "20261103", "2026-11-03"),
        ("%d.%m.%Y", "03.11.2026", "2026-11-03"),
        ("%d-%b-%y", "03-NOV-26", "2026-11-03"),
        ("%Y/%j", "2026/307", "2026-11-03"),
        ("%Y-%m-%d %H:%M:%S", "2026-11-03 07:08:09", "2026-11-03T07:08:09"),
        ("%Y%m%d%H%M", "202611032359", "2026-11-03T23:59:00"),
        ("%%%Y%m%d", "%20261103", "2026-11-03"),
    ],
)
def test_reads(pattern: str, written: str, day: str) -> None:
    assert compile_date(pattern, 40)(written) == day


@pytest.mark.parametrize(
    ("pattern", "written"),
    [
        ("CYYMMDD", "1261301"),
        ("CYYMMDD", "1260230"),
        ("CYYMMDD", "12611031"),
        ("CYYMMDD", "126110x"),
        ("CYYMMDD", "-261103"),
        ("CYYMMDD", "١٢٦١١٠٣"),
        ("YYDDD", "26366"),
        ("YYDDD", "26000"),
        ("YYYYDDD", "9999366"),
        ("YYYYDDD", "0000001"),
        ("excel", "60"),
        ("excel", "0"),
        ("excel", "2958466"),
        ("excel", "1e400"),
        ("excel", "nan"),
        ("excel", "soon"),
        ("iso", "2026-13-01"),
        ("%Y%m%d", "2026110"),
        ("%Y%m%d", "20261103 "),
        ("%d.%m.%Y", "3.11.2026"),
        ("%d-%b-%y", "03-NOX-26"),
        ("%Y-%m-%d %H", "2026-11-03 24"),
    ],
)
def test_refuses(pattern: str, written: str) -> None:
    with pytest.raises(BadValue):
        compile_date(pattern, 40)(written)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("YYMM", "is none of"),
        ("%Y-%m", "needs one year"),
        ("%Y%y%m%d", "needs one year"),
        ("%Y%m%b%d", "needs one year"),
        ("%m%d", "needs one year"),
        ("%Y%m%d%d", "given twice"),
        ("%Y%m%d %Z", "use only"),
    ],
)
def test_refuses_a_pattern(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        compile_date(pattern, 40)


@given(
    DAYS, st.sampled_from(["CYYMMDD", "YYMMDD", "YYDDD", "CYYDDD", "YYYYDDD", "%d.%m.%Y", "%Y%j", "excel"])
)
def test_every_day_survives(day: dt.date, pattern: str) -> None:
    century = (day.year - 1900) // 100
    written = {
        "CYYMMDD": f"{century}{day:%y%m%d}".lstrip("0"),
        "YYMMDD": f"{day:%y%m%d}",
        "YYDDD": f"{day:%y%j}",
        "CYYDDD": f"{century}{day:%y%j}",
        "YYYYDDD": f"{day:%Y%j}",
        "excel": str((day - dt.date(1899, 12, 30)).days),
    }.get(pattern) or day.strftime(pattern)
    assert compile_date(pattern, 40)(written) == day.isoformat()


@given(st.text(max_size=12), st.sampled_from(["CYYMMDD", "YYDDD", "excel", "iso", "%Y%m%d", "%d-%b-%y"]))
def test_anything_else_is_refused_not_crashed(text: str, pattern: str) -> None:
    with contextlib.suppress(BadValue):
        dt.date.fromisoformat(compile_date(pattern, 40)(text))
