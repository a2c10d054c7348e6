"""Telephone speech to words: grammars, features, the decoder pool, and an accuracy floor on an unheard voice."""

import io
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.engines.local.audio import Samples, to_samples
from trunkline.engines.local.recogniser import (
    START_CMN,
    Decoders,
    Grammar,
    Network,
    digits,
    heard_digits,
    language_model,
    phrases,
    spoken_words,
)
from trunkline.engines.local.recogniser.features import BANDS, CONTEXT, LogMel, Widener
from trunkline.engines.local.recogniser.lexicon import pronunciations
from trunkline.engines.local.voice import Flite
from trunkline.model import LocalError, LocalProtocolError

Line = Callable[..., bytes]

WISHES = (
    "where is my order",
    "check my order please",
    "what are your opening hours",
    "when are you open",
    "i want to talk to a person",
    "agent",
    "goodbye",
)


def hear(decoders: Decoders, grammar: Grammar, pcm: bytes, *, piece: int = 320) -> str:
    samples = to_samples(pcm)
    utterance = decoders.utterance(grammar)
    assert utterance is not None
    for at in range(0, samples.size, piece):
        utterance.feed(samples[at : at + piece])
    return utterance.finish()[0].text


# --- accuracy ------------------------------------------------------------------------------------------


@pytest.fixture
def fresh(flite: Flite) -> Iterator[Decoders]:
    """A decoder that has learnt nothing else: what it knows besides changes what it prunes, by a word or so."""
    pool = Decoders(1, pronounce=flite.pronounce)
    yield pool
    pool.close()


@pytest.mark.parametrize("snr_db", [None, 20])
def test_wishes_of_an_unheard_voice_are_understood(
    fresh: Decoders, caller: Line, snr_db: float | None
) -> None:
    grammar = language_model(WISHES)
    heard = {wish: hear(fresh, grammar, caller(wish, snr_db=snr_db)) for wish in WISHES}
    wrong = {wish: words for wish, words in heard.items() if words != wish}
    assert len(wrong) <= 1, wrong


@pytest.mark.parametrize("snr_db", [None, 20])
def test_numbers_of_an_unheard_voice_are_understood(
    fresh: Decoders, caller: Line, snr_db: float | None
) -> None:
    numbers = ["45678", "10293", "99031", "56472", "83715"]
    names = "zero one two three four five six seven eight nine".split()  # noqa: SIM905
    grammar = digits(5, 5, lead_ins=("it's",), escapes=("agent",))
    heard = [
        heard_digits(hear(fresh, grammar, caller(" ".join(names[int(d)] for d in number), snr_db=snr_db)))
        for number in numbers
    ]
    assert sum(a == b for a, b in zip(heard, numbers, strict=True)) >= 4, heard


def test_answers_are_understood(fresh: Decoders, caller: Line) -> None:
    grammar = phrases(("yes", "yes please", "no", "no thanks", "agent"))
    assert [hear(fresh, grammar, caller(text)) for text in ("yes please", "no", "agent")] == [
        "yes please",
        "no",
        "agent",
    ]


def test_words_have_times(decoders: Decoders, caller: Line) -> None:
    utterance = decoders.utterance(phrases(("where is my order",)))
    assert utterance is not None
    samples = to_samples(caller("where is my order", before_s=0.5))
    utterance.feed(samples)
    hypothesis, _ = utterance.finish()
    assert [word for word, _, _ in hypothesis.words] == ["where", "is", "my", "order"]
    assert 400 <= hypothesis.words[0][1] <= 700
    assert all(start < end for _, start, end in hypothesis.words)
    assert hypothesis.words[-1][2] <= samples.size / 8 + 20


def test_partial_words_grow(decoders: Decoders, caller: Line) -> None:
    utterance = decoders.utterance(digits(1, 8))
    assert utterance is not None
    samples = to_samples(caller("one two three four five six"))
    partial = []
    for at in range(0, samples.size, 800):
        utterance.feed(samples[at : at + 800])
        partial.append(len(utterance.partial().text.split()))
    assert utterance.finish()[0].text == "one two three four five six"
    assert 0 < partial[len(partial) // 2] < 6


def test_a_word_out_of_the_dictionary_is_pronounced_by_rule(fresh: Decoders, caller: Line) -> None:
    grammar = phrases(("trunkline support", "acme sales"))
    assert hear(fresh, grammar, caller("trunkline support")) == "trunkline support"


def test_a_word_nobody_can_pronounce_is_named() -> None:
    with pytest.raises(LocalError, match="'trnkl'"):
        pronunciations(["a", "trnkl"], {"a": ("AH", "EY")}, lambda _word: [])
    with pytest.raises(LocalError, match="'trnkl'"):
        pronunciations(["trnkl"], {}, None)
    found = pronunciations(["b", "a"], {"a": ("AH", "EY")}, lambda _word: ["B", "IY"])
    assert found == {"a": ("AH", "EY"), "b": ("B IY",)}


# --- features ------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 900), min_size=1, max_size=12), st.integers(0, 2**31))
def test_features_do_not_depend_on_pieces(sizes: list[int], seed: int) -> None:
    samples = (np.random.default_rng(seed).standard_normal(sum(sizes)) * 1000).astype(np.float32)
    network = Network.bundled()
    whole, piecewise = Widener(network), Widener(network)
    expected = np.concatenate((whole.push(samples), whole.flush()))
    got, at = [], 0
    for size in sizes:
        got.append(piecewise.push(samples[at : at + size]))
        at += size
    got.append(piecewise.flush())
    found = np.concatenate(got)
    assert found.shape == expected.shape
    assert np.allclose(found, expected, atol=1e-3)


def test_a_frame_every_10_ms() -> None:
    assert LogMel().push(np.zeros(8000, dtype=np.float32)).shape == (98, BANDS)
    widener = Widener(Network.bundled())
    early = widener.push(np.zeros(8000, dtype=np.float32))
    assert len(early) == 98 - CONTEXT
    assert len(early) + len(widener.flush()) == 98
    assert len(Widener(Network.bundled()).flush()) == 0


def test_a_tone_is_loudest_in_its_band() -> None:
    time = np.arange(8000) / 8000
    low, high = (
        LogMel().push((8000 * np.sin(2 * np.pi * hertz * time)).astype(np.float32))[20].argmax()
        for hertz in (300, 3000)
    )
    assert low < 4
    assert high > 15


def test_weights_are_read_without_pickle() -> None:
    file = io.BytesIO()
    np.savez(file, mean=np.array([object()], dtype=object))
    file.seek(0)
    with pytest.raises(ValueError, match="pickle"):
        Network.read(file)


# --- grammars ------------------------------------------------------------------------------------------


def test_words_of_a_sentence() -> None:
    assert spoken_words("What's Acme's 'status', please?") == ["what's", "acme's", "status", "please"]
    assert spoken_words("Don\N{RIGHT SINGLE QUOTATION MARK}t!") == ["don't"]
    assert spoken_words(" ... ") == []


def test_a_grammar_knows_its_words_and_its_name() -> None:
    grammar = digits(2, 3, lead_ins=("it's",), escapes=("an agent",))
    assert {"it's", "agent", "seven", "oh"} <= grammar.words
    assert grammar.name == digits(2, 3, lead_ins=("it's",), escapes=("an agent",)).name
    assert grammar.name != digits(2, 4, lead_ins=("it's",), escapes=("an agent",)).name


@pytest.mark.parametrize("bounds", [(0, 3), (4, 3), (1, 33)])
def test_impossible_digit_strings_are_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="digits"):
        digits(*bounds)


def test_a_language_model_s_chances_sum_to_one() -> None:
    source = language_model(["a b c", "a b d", "b a"]).source
    section = source.split("\\1-grams:")[1].split("\\2-grams:")[0]
    chances = [10 ** float(line.split()[0]) for line in section.split("\n") if line and "<s>" not in line]
    assert sum(chances) == pytest.approx(1, abs=0.01)
    bigrams = source.split("\\2-grams:")[1].split("\\3-grams:")[0]
    after_a = [10 ** float(line.split()[0]) for line in bigrams.split("\n") if line.split()[1:2] == ["a"]]
    assert 0 < sum(after_a) < 1, "something is left for words never seen after it"
    with pytest.raises(ValueError, match="sentences"):
        language_model([])


# --- pool ----------------------------------------------------------------------------------------------


def test_the_pool_is_bounded_and_takes_back(flite: Flite) -> None:
    pool = Decoders(1, pronounce=flite.pronounce)
    grammar = phrases(("yes", "no"))
    first = pool.utterance(grammar)
    assert first is not None
    assert pool.utterance(grammar) is None
    assert (pool.busy, pool.refused) == (1, 1)
    first.abandon()
    first.abandon()
    again = pool.utterance(grammar)
    assert again is not None
    pool.close()
    assert again.finish()[0].text == "", "an utterance outlives the pool's closing"
    with pytest.raises(LocalProtocolError):
        again.feed(np.zeros(100, dtype=np.float32))
    with pytest.raises(LocalProtocolError):
        again.finish()
    with pytest.raises(LocalProtocolError):
        pool.utterance(grammar)
    assert pool.busy == 0


def test_a_grammar_that_cannot_be_used_costs_no_decoder() -> None:
    pool = Decoders(1)
    with pytest.raises(LocalError, match="'zzyx'"):
        pool.utterance(phrases(("zzyx",)))
    assert pool.busy == 0
    pool.close()


def test_decoders_forget_grammars_they_have_not_used_for_long(decoders: Decoders, caller: Line) -> None:
    pcm = caller("yes")
    for number in range(40):
        assert hear(decoders, phrases(("yes", "no", "one " * (number + 2))), pcm, piece=4000) == "yes"


def test_two_callers_at_a_time(decoders: Decoders, caller: Line) -> None:
    grammar = language_model(WISHES)
    lines = {wish: caller(wish) for wish in ("where is my order", "when are you open")}
    heard: dict[str, list[str]] = {wish: [] for wish in lines}

    def work(wish: str) -> None:
        for _ in range(3):
            heard[wish].append(hear(decoders, grammar, lines[wish]))

    threads = [threading.Thread(target=work, args=(wish,)) for wish in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == {wish: [wish] * 3 for wish in lines}


def test_the_line_s_means_are_kept_for_the_next_utterance(decoders: Decoders, caller: Line) -> None:
    utterance = decoders.utterance(phrases(("yes", "no")), START_CMN)
    assert utterance is not None
    utterance.feed(to_samples(caller("yes")))
    _, cmn = utterance.finish()
    assert len(cmn.split(",")) == 13
    assert cmn != START_CMN


def quiet(seconds: float) -> Samples:
    return np.zeros(round(8000 * seconds), dtype=np.float32)


def test_silence_and_nothing_are_no_words(decoders: Decoders) -> None:
    utterance = decoders.utterance(digits(5, 5))
    assert utterance is not None
    assert utterance.finish()[0].text == ""
    utterance = decoders.utterance(digits(5, 5))
    assert utterance is not None
    utterance.feed(quiet(0.5))
    assert utterance.finish()[0].text == ""
