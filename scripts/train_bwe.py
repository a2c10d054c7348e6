"""Train the recogniser's bandwidth extension: cepstra of 16 kHz speech from telephone audio.

Speech is synthesised (flite's voices slt, awb and kal16 and, where installed, espeak-ng's; the voice rms is never
seen and serves for measuring), varied in pace, pitch and vocal tract, and sent through a telephone channel with and
without noise. Target: the cepstra that the acoustic model's own front end computes from the clean 16 kHz speech.

    nice python scripts/train_bwe.py

numpy only; about twenty minutes on one core. Writes src/trunkline/engines/local/recogniser/bwe.npz.
"""

import argparse
import itertools
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from speech_lab import (
    ESPEAK_VOICES,
    Reference,
    Samples,
    Speaker,
    Studio,
    dictionary_words,
    speakers,
    telephone,
)

from trunkline.engines.local.recogniser.features import BANDS, CEPSTRA, CONTEXT, LogMel

OUT = Path(__file__).parent.parent / "src/trunkline/engines/local/recogniser/bwe.npz"
TRAINING_VOICES = ("slt", "awb", "kal16")
HIDDEN = 384
SPAN = 2 * CONTEXT + 1

DIGITS = ["zero", "oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
PHRASES = [
    "where is my order",
    "i want to know about my order",
    "what is the status of my order",
    "can you check an order for me",
    "i would like to speak to a person",
    "give me an agent please",
    "operator",
    "representative",
    "talk to somebody",
    "what are your opening hours",
    "when are you open",
    "are you open on saturday",
    "thank you goodbye",
    "no thanks that is all",
    "yes please",
    "no",
    "yes that is right",
    "no that is wrong",
    "could you repeat that",
    "what did you say",
    "hello",
    "good morning",
    "i want to cancel my appointment",
    "i need to change my address",
    "my name is",
    "the number is",
    "it's about a delivery",
    "has my package been shipped",
    "i never got it",
    "billing question",
    "i want a refund",
    "track my parcel",
    "next tuesday",
    "january the twenty first",
    "five hundred dollars",
    "help me please",
    "i don't know",
    "one moment",
    "hold on a second",
]


def sentence(dice: random.Random, words: list[str]) -> str:
    """A third phrases of the telephone, a third digits, a third words of the whole dictionary."""
    kind = dice.random()
    if kind < 0.3:
        return ", ".join(dice.choice(PHRASES) for _ in range(dice.choice((1, 1, 2))))
    if kind < 0.55:
        return " ".join(dice.choice(DIGITS) for _ in range(dice.randint(3, 8)))
    return " ".join(dice.choice(words) for _ in range(dice.randint(3, 7)))


def channel(speech: Samples, dice: random.Random) -> Samples:
    """A random telephone line."""
    return telephone(
        speech,
        snr_db=None if dice.random() < 0.35 else dice.uniform(4, 32),
        codec=dice.choice(("ulaw", "ulaw", "alaw", "none")),
        colour=dice.choice((0.0, 0.5, 1.0, 1.5)),
        band=dice.random() < 0.5,
        seed=dice.getrandbits(32),
    )


def make_data(
    utterances: int, seed: int, *, espeak: bool
) -> tuple[list[npt.NDArray[np.float16]], list[npt.NDArray[np.float32]]]:
    """Log-mel frames of the line and cepstra of the speech, per utterance."""
    dice = random.Random(seed)
    studio, reference, words = Studio(), Reference(), dictionary_words()
    espeak = espeak and studio.espeak is not None
    voices = TRAINING_VOICES * 3 + (ESPEAK_VOICES[:6] if espeak else ())
    cast = speakers(voices, dice)
    inputs, targets = [], []
    for number in range(utterances):
        speaker: Speaker = next(cast)
        speech = studio.say(sentence(dice, words), speaker)
        speech = speech * np.float32(10 ** (dice.uniform(-18, 4) / 20))
        if dice.random() < 0.3:
            speech = tilt(speech, dice.uniform(-0.5, 0.5))
        cepstra = reference.cepstra(speech)
        for _ in range(2):
            mel = LogMel().push(channel(speech, dice))
            count = min(len(mel), len(cepstra))
            inputs.append(mel[:count].astype(np.float16))
            targets.append(cepstra[:count])
        if number % 250 == 0:
            print(f"synthesised {number} of {utterances}", flush=True)
    return inputs, targets


def tilt(speech: Samples, amount: float) -> Samples:
    """A first-order spectral tilt: microphones differ."""
    before = np.concatenate((speech[:1], speech[:-1]))
    return np.asarray(speech - np.float32(amount) * before, dtype=np.float32)


class Trainer:
    """Adam on a two-layer network, in single precision."""

    def __init__(
        self, mean: Samples, scale: Samples, target_mean: Samples, dice: np.random.Generator
    ) -> None:
        sizes = (SPAN * BANDS, HIDDEN, HIDDEN, CEPSTRA)
        self.mean, self.scale = mean, scale
        self.weights: list[Samples] = []
        for fan_in, fan_out in itertools.pairwise(sizes):
            self.weights.append(
                (dice.standard_normal((fan_in, fan_out)) * np.sqrt(2 / fan_in)).astype(np.float32)
            )
            self.weights.append(np.zeros(fan_out, dtype=np.float32))
        self.weights[4] *= np.float32(0.1)
        self.weights[5] = target_mean.copy()
        self.first = [np.zeros_like(w) for w in self.weights]
        self.second = [np.zeros_like(w) for w in self.weights]
        self.steps = 0

    def predict(self, x: Samples) -> Samples:
        w1, b1, w2, b2, w3, b3 = self.weights
        h = np.maximum((x - self.mean) * self.scale @ w1 + b1, 0)
        return np.asarray(np.maximum(h @ w2 + b2, 0) @ w3 + b3)

    def step(self, x: Samples, y: Samples, importance: Samples, rate: float) -> float:
        w1, b1, w2, b2, w3, b3 = self.weights
        x = (x - self.mean) * self.scale
        h1 = np.maximum(x @ w1 + b1, 0)
        h2 = np.maximum(h1 @ w2 + b2, 0)
        error = (h2 @ w3 + b3 - y) * importance
        loss = float(np.mean(error**2))
        g3 = error * importance * (2 / len(x))
        g2 = (g3 @ w3.T) * (h2 > 0)
        g1 = (g2 @ w2.T) * (h1 > 0)
        gradients = (x.T @ g1, g1.sum(0), h1.T @ g2, g2.sum(0), h2.T @ g3, g3.sum(0))
        self.steps += 1
        for i, gradient in enumerate(gradients):
            self.first[i] += 0.1 * (gradient - self.first[i])
            self.second[i] += 0.001 * (gradient**2 - self.second[i])
            unbiased = self.first[i] / (1 - 0.9**self.steps)
            spread = np.sqrt(self.second[i] / (1 - 0.999**self.steps)) + 1e-8
            self.weights[i] -= np.float32(rate) * unbiased / spread
        return loss

    def save(self, file: Path) -> None:
        names = ("w1", "b1", "w2", "b2", "w3", "b3")
        arrays: dict[str, Any] = dict(zip(names, self.weights, strict=True), mean=self.mean, scale=self.scale)
        np.savez_compressed(file, **{name: array.astype(np.float16) for name, array in arrays.items()})
        print(f"wrote {file.name}: {file.stat().st_size / 1024:.0f} KiB", flush=True)


def train(
    inputs: list[npt.NDArray[np.float16]], targets: list[Samples], *, epochs: int, seed: int
) -> Trainer:
    """Fit; the last twentieth of the utterances is held out to watch the fit."""
    dice = np.random.default_rng(seed)
    edge = [np.pad(mel, ((CONTEXT, CONTEXT), (0, 0)), mode="edge") for mel in inputs]
    starts = np.cumsum([0] + [len(mel) for mel in edge])
    frames = np.concatenate(edge)
    centres = np.concatenate([s + CONTEXT + np.arange(len(t)) for s, t in zip(starts, targets, strict=False)])
    y = np.concatenate(targets)
    mean = np.tile(frames.astype(np.float32).mean(0), SPAN)
    scale = np.tile(1 / frames.astype(np.float32).std(0), SPAN)
    importance = (1 / y.std(0)).astype(np.float32)
    held = len(centres) * 19 // 20
    trainer = Trainer(mean, scale, y.mean(0), dice)
    offsets = np.arange(-CONTEXT, CONTEXT + 1)

    def rows(index: npt.NDArray[np.int64]) -> Samples:
        windows = frames[centres[index][:, None] + offsets[None, :]]
        return windows.reshape(len(index), -1).astype(np.float32)

    batch = 512
    total = epochs * (held // batch)
    for epoch in range(epochs):
        began, losses = time.monotonic(), []
        order = dice.permutation(held)
        for i in range(0, held - batch, batch):
            rate = 1e-3 * 0.5 * (1 + np.cos(np.pi * min(1.0, trainer.steps / total)))
            losses.append(trainer.step(rows(order[i : i + batch]), y[order[i : i + batch]], importance, rate))
        test = np.arange(held, len(centres))
        miss = float(np.mean(((trainer.predict(rows(test)) - y[test]) * importance) ** 2))
        spent = time.monotonic() - began
        print(
            f"epoch {epoch + 1}: loss {np.mean(losses):.4f}, held out {miss:.4f}, {spent:.0f} s", flush=True
        )
    return trainer


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--utterances", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--no-espeak", action="store_true", help="flite's voices only")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    inputs, targets = make_data(chosen.utterances, chosen.seed, espeak=not chosen.no_espeak)
    print(f"{sum(map(len, targets)) / 6000:.0f} minutes of line audio", flush=True)
    train(inputs, targets, epochs=chosen.epochs, seed=chosen.seed).save(chosen.out)


if __name__ == "__main__":
    main()
