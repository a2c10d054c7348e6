"""English words that several rooms speak. Unlike ``calendar.month_name`` they do not follow the process's locale."""

from typing import Final

MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
