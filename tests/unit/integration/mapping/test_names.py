import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.integration.mapping.names import PersonName, case_name, split_name


@pytest.mark.parametrize(
    ("text", "parts", "full"),
    [
        ("GARCIA, MARIA L", ("MARIA", "L", "GARCIA"), "MARIA L GARCIA"),
        ("GARCIA,MARIA", ("MARIA", "", "GARCIA"), "MARIA GARCIA"),
        ("DE LA CRUZ, JUAN PABLO M", ("JUAN", "PABLO M", "DE LA CRUZ"), "JUAN PABLO M DE LA CRUZ"),
        ("BROWN JR, DAVID", ("DAVID", "", "BROWN JR"), "DAVID BROWN JR"),
        ("BROWN, DAVID, JR.", ("DAVID", "", "BROWN JR."), "DAVID BROWN JR."),
        ("Maria L Garcia", ("Maria", "L", "Garcia"), "Maria L Garcia"),
        ("David Brown III", ("David", "", "Brown III"), "David Brown III"),
        ("  ACME   ", ("", "", "ACME"), "ACME"),
        ("GARCIA,", ("", "", "GARCIA"), "GARCIA"),
        (",", ("", "", ""), ""),
        ("", ("", "", ""), ""),
    ],
)
def test_split(text: str, parts: tuple[str, str, str], full: str) -> None:
    name = split_name(text)
    assert name == PersonName(*parts)
    assert name.full == full


@pytest.mark.parametrize(
    ("capitals", "cased"),
    [
        ("MARIA L GARCIA", "Maria L Garcia"),
        ("O'BRIEN-MCKAY", "O'Brien-McKay"),
        ("MC", "Mc"),
        ("SMITH III", "Smith III"),
        ("HANS-PETER", "Hans-Peter"),
        ("JOE'S", "Joe's"),
        ("ÅSA ÖBERG", "Åsa Öberg"),
    ],
)
def test_case(capitals: str, cased: str) -> None:
    assert case_name(capitals) == cased


@given(st.text(max_size=30))
def test_no_letter_is_lost(text: str) -> None:
    name = split_name(text)
    assert (
        sorted(name.full.replace(" ", "")) == sorted("".join(text.split()).replace(",", ""))
        or "," in name.family
    )
