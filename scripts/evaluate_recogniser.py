"""Measure the local recogniser on a voice that its network never heard (flite's rms), through a telephone line.

    nice python scripts/evaluate_recogniser.py                      # all methods, all tasks
    nice python scripts/evaluate_recogniser.py --methods bwe --voice rms --count 60

Methods: ``bwe`` is what the engine does; ``image`` doubles the rate leaving the mirror image at -10 dB; ``sinc``
doubles it cleanly; ``wide`` decodes the 16 kHz speech itself, without the line (the ceiling).

    nice python scripts/evaluate_recogniser.py --recordings free-spoken-digit-dataset/recordings

measures people instead: 8 kHz recordings named DIGIT_SPEAKER_NUMBER.wav (the Free Spoken Digit Dataset), alone and
five in a row.
"""

import argparse
import random
import time
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from speech_lab import Reference, Samples, Speaker, Studio, resample, telephone

from trunkline.engines.local.audio import Doubler
from trunkline.engines.local.recogniser import (
    DIGIT_WORDS,
    Grammar,
    Network,
    digits,
    language_model,
    phrases,
    spoken_words,
)
from trunkline.engines.local.recogniser.decoder import START_CMN, Decoder
from trunkline.engines.local.recogniser.features import Widener

COMMANDS = [
    "order status",
    "check my order",
    "opening hours",
    "talk to an agent",
    "representative",
    "operator",
    "goodbye",
    "yes",
    "no",
    "repeat that",
    "main menu",
    "go back",
    "billing",
    "technical support",
    "cancel my order",
    "change my address",
    "track a package",
    "returns",
    "refund",
    "delivery date",
    "payment",
    "my account",
    "speak to a person",
    "start over",
    "help",
    "stop",
    "thank you",
    "make a complaint",
]
EXAMPLES = [
    "where is my order",
    "i want to know where my order is",
    "what is the status of my order",
    "check my order please",
    "can you check an order for me",
    "i would like to check the status of an order",
    "has my order been shipped",
    "when will my order arrive",
    "track my order",
    "order status",
    "my order has not arrived",
    "i am calling about an order",
    "what are your opening hours",
    "when are you open",
    "what time do you close",
    "are you open on saturday",
    "opening hours",
    "i want to talk to a person",
    "can i speak to an agent",
    "give me a human please",
    "representative",
    "operator",
    "transfer me to somebody",
    "agent please",
    "goodbye",
    "that is all thank you",
    "no thanks",
    "bye",
    "yes please",
    "yes",
    "no",
    "no that is all",
    "thank you goodbye",
    "i have another question",
    "can you help me with an order",
]
SPOKEN = [
    "where is my order",
    "i want to check the status of my order",
    "can you check my order please",
    "when will my order arrive",
    "has my order been shipped",
    "i am calling about my order",
    "what time are you open",
    "when do you close",
    "are you open on saturday",
    "can i talk to a person please",
    "give me an agent",
    "i would like to speak to a human",
    "transfer me to an agent please",
    "representative",
    "no that is all thank you",
    "goodbye",
    "yes please",
    "no thanks goodbye",
    "i would like to know where my order is",
    "can i speak to somebody",
]
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@dataclass(frozen=True, slots=True)
class Task:
    name: str
    grammar: Grammar
    texts: tuple[str, ...]
    whole: bool
    """Count right answers instead of wrong words."""


def tasks(count: int, dice: random.Random) -> list[Task]:
    """The three things the engine asks of a recogniser."""
    numbers = tuple(" ".join(dice.choice(NAMES) for _ in range(5)) for _ in range(count))
    return [
        Task("commands", phrases(COMMANDS), tuple((COMMANDS * 9)[:count]), whole=True),
        Task("sentences", language_model(EXAMPLES), tuple((SPOKEN * 9)[:count]), whole=False),
        Task("digits", digits(1, 8), numbers, whole=False),
        Task("5 digits", digits(5, 5), numbers, whole=True),
    ]


def word_errors(said: list[str], heard: list[str]) -> int:
    """Levenshtein distance in words."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, start=1):
        last, row[0] = row[0], i
        for j, other in enumerate(heard, start=1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (word != other))
    return row[-1]


class Method:
    """Decodes one utterance given what arrived on the line and what was spoken."""

    def __init__(self, name: str, network: Network) -> None:
        self.name = name
        self.network = network
        self.decoder = Decoder()
        self.reference = Reference()
        self.cmn = START_CMN

    def hear(self, line: Samples, speech: Samples) -> str:
        decoder = self.decoder
        decoder.start(self.cmn)
        if self.name == "bwe":
            widener = Widener(self.network)
            for at in range(0, line.size, 800):
                decoder.feed(widener.push(line[at : at + 800]))
            decoder.feed(widener.flush())
        elif self.name == "wide":
            decoder.feed(np.ascontiguousarray(self.reference.cepstra(speech)))
        else:
            image = 10 ** (-10 / 20) if self.name == "image" else 0.0
            stuffed = np.zeros(line.size * 2, dtype=np.float32)
            stuffed[15 : 15 + 2 * (line.size - 8) : 2] = line[: line.size - 8] * 2
            decoder.feed(self.reference.cepstra((1 - image) * Doubler().push(line) + image * stuffed))
        hypothesis, self.cmn = decoder.end()
        return hypothesis.text


def report_people(chosen: argparse.Namespace, method: Method, snr: float | None) -> None:
    """Isolated digits and strings of five of one speaker, from recordings."""
    dice = random.Random(chosen.seed)
    files = sorted(chosen.recordings.glob("*.wav"))
    voices: dict[str, list[Path]] = {}
    for file in files:
        voices.setdefault(file.stem.split("_")[1], []).append(file)
    columns = []
    for length in (1, 5):
        method.decoder.use(digits(length, length))
        method.cmn = START_CMN
        right = wrong_digits = 0
        for number in range(chosen.count):
            takes = [dice.choice(voices[dice.choice(sorted(voices))])]
            while len(takes) < length:
                takes.append(dice.choice(voices[takes[0].stem.split("_")[1]]))
            pause = np.zeros(1200, dtype=np.float32)
            narrow = np.concatenate([pause, *(part for take in takes for part in (recording(take), pause))])
            speech = resample(narrow, 2.0)
            line = telephone(speech, snr_db=snr, codec="ulaw", colour=1.0, band=False, seed=number)
            got = [DIGIT_WORDS[word] for word in method.hear(line, speech).split()]
            missed = word_errors([take.stem.split("_")[0] for take in takes], got)
            right += not missed
            wrong_digits += missed
        percent = 100 * wrong_digits / (length * chosen.count)
        columns.append(
            f"{length} digits right {100 * right / chosen.count:5.1f} % (digit errors {percent:.1f} %)"
        )
    print(f"{method.name:6} {'clean' if snr is None else f'{snr:g} dB':6} " + ", ".join(columns), flush=True)


def recording(file: Path) -> Samples:
    """An 8 kHz WAV at a usual level."""
    with wave.open(str(file)) as wav:
        samples = np.frombuffer(wav.readframes(wav.getnframes()), dtype="<i2").astype(np.float32)
    return samples * np.float32(8000 / max(1.0, float(np.abs(samples).max())))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", default="wide,sinc,image,bwe")
    parser.add_argument("--voice", default="rms")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--network", type=Path, help="another bwe.npz")
    parser.add_argument("--snr", default="none,15")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--recordings", type=Path, help="folder of recorded digits of people")
    parser.add_argument("--verbose", action="store_true")
    chosen = parser.parse_args()
    studio = Studio()
    network = Network.read(chosen.network.open("rb")) if chosen.network else Network.bundled()
    who = "people" if chosen.recordings else f"voice {chosen.voice}"
    print(f"{who}, {chosen.count} utterances a task; G.711 mu-law")
    for snr in chosen.snr.split(","):
        for name in chosen.methods.split(","):
            if chosen.recordings:
                report_people(chosen, Method(name, network), None if snr == "none" else float(snr))
                continue
            report(studio, Method(name, network), chosen, None if snr == "none" else float(snr))


def report(studio: Studio, method: Method, chosen: argparse.Namespace, snr: float | None) -> None:
    dice = random.Random(chosen.seed)
    columns = []
    for task in tasks(chosen.count, dice):
        method.decoder.use(task.grammar)
        method.cmn = START_CMN
        wrong = total = 0
        audio = busy = 0.0
        for number, text in enumerate(task.texts):
            speaker = Speaker(
                chosen.voice, dice.uniform(0.9, 1.15), dice.uniform(0.85, 1.2), dice.uniform(0.92, 1.08)
            )
            speech = studio.say(text, speaker)
            line = telephone(speech, snr_db=snr, codec="ulaw", colour=1.0, band=True, seed=number)
            began = time.process_time()
            heard = method.hear(line, speech)
            busy += time.process_time() - began
            audio += line.size / 8000
            said = spoken_words(text)
            got = heard.replace("oh", "zero").split()
            missed = word_errors(said, got)
            if missed and chosen.verbose:
                print(f"   {text!r} -> {heard!r}")
            wrong += bool(missed) if task.whole else missed
            total += 1 if task.whole else len(said)
        if task.whole:
            columns.append(f"{task.name} right {100 - 100 * wrong / total:5.1f} %")
        else:
            columns.append(f"{task.name} errors {100 * wrong / total:5.1f} % (RTF {busy / audio:.3f})")
    noise = "clean" if snr is None else f"{snr:g} dB"
    print(f"{method.name:6} {noise:6} " + ", ".join(columns), flush=True)


if __name__ == "__main__":
    main()
