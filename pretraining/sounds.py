"""Sounds made from formulas: noises, tones, impacts, engines, water, animals' calls, music; no recording is used.

A generator takes two factors in 0 to 1 and draws everything else. The factors are what pretraining has to tell apart: each
generator gives four labels, a factor below or above a half. The kinds were chosen with the categories of environmental sound data
sets in mind; the sounds of :mod:`astune.data.generated`, on which the demonstration runs, are none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

from astune.data.audio import SAMPLING_RATE as RATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    Samples = NDArray[np.float64]
    Draw = np.random.Generator
    Sound = Callable[[Draw, float, float, int], Samples]

SOUNDS: dict[str, Sound] = {}
"""By name: (draw, first factor, second factor, samples) to (samples,), of any level."""


def sound(generator: Sound) -> Sound:
    """Add a generator under its function's name."""
    SOUNDS[generator.__name__] = generator
    return generator


def between(factor: float, low: float, high: float) -> float:
    """A value from low to high, equal steps of the factor being equal ratios."""
    return float(low * (high / low) ** factor)


def clock(n: int) -> Samples:
    """Seconds of n samples."""
    return np.arange(n) / RATE


def tone(frequency: Samples | float, n: int) -> Samples:
    """A sine whose frequency (Hz) may move."""
    return np.asarray(np.sin(2 * np.pi * np.cumsum(np.broadcast_to(frequency, n)) / RATE))


def harmonics(frequency: Samples | float, n: int, draw: Draw, count: int, tilt: float) -> Samples:
    """A tone with overtones that fall off as k to the power of -tilt; those above 7.8 kHz are silent."""
    frequency = np.broadcast_to(frequency, n)
    phase = 2 * np.pi * np.cumsum(frequency) / RATE
    total = np.zeros(n)
    for k in range(1, count + 1):
        strength = k**-tilt * draw.uniform(0.4, 1)
        total += strength * (frequency * k < 7800) * np.sin(k * phase + draw.uniform(0, 2 * np.pi))
    return total


def passing(x: Samples, low: float | None = None, high: float | None = None) -> Samples:
    """A second-order Butterworth filter: band-, high- or low-pass, as the bounds (Hz) given say."""
    low = None if low is None else min(max(low, 20.0), 7000.0)
    high = None if high is None else min(max(high, 1.1 * (low or 40.0)), 7900.0)
    if low is not None and high is not None:
        design = butter(2, [low, high], "bandpass", fs=RATE, output="sos")
    else:
        design = butter(
            2, low if high is None else high, "highpass" if high is None else "lowpass", fs=RATE, output="sos"
        )
    return np.asarray(sosfilt(design, x))


def white(draw: Draw, n: int) -> Samples:
    """Noise of equal power at all frequencies."""
    return draw.standard_normal(n)


def coloured(draw: Draw, n: int, slope: float) -> Samples:
    """Noise whose amplitude falls as frequency to the power of -slope: 0.5 is pink, 1 is brown."""
    spectrum = np.fft.rfft(draw.standard_normal(n))
    spectrum *= np.maximum(np.fft.rfftfreq(n, 1 / RATE), 20.0) ** -slope
    noise = np.fft.irfft(spectrum, n)
    return np.asarray(noise / noise.std())


def drift(draw: Draw, n: int, rate: float) -> Samples:
    """A random curve of unit variance with about ``rate`` knots a second."""
    knots = max(4, int(n / RATE * rate) + 3)
    return np.interp(np.arange(n), np.linspace(0, n, knots), draw.standard_normal(knots))


def decay(n: int, seconds: float, attack: float = 0.001) -> Samples:
    """An envelope that rises within ``attack`` seconds and falls to 1/e in ``seconds``."""
    t = clock(n)
    return np.minimum(1.0, t / attack) * np.exp(-t / seconds)


def steady(draw: Draw, n: int, rate: float, jitter: float = 0.02) -> Samples:
    """Moments (in samples) about ``rate`` times a second, jittered by a share of the period."""
    period = RATE / rate
    moments = np.arange(draw.uniform(0, period), n, period)
    return moments + draw.normal(0, jitter * period, len(moments))


def random_moments(draw: Draw, n: int, rate: float) -> Samples:
    """Independent moments (in samples), ``rate`` a second on average, at least one."""
    return draw.uniform(0, n, max(1, draw.poisson(rate * n / RATE)))


def scatter(n: int, moments: Iterable[float], make: Callable[[], Samples]) -> Samples:
    """Lay a new event at each moment."""
    total = np.zeros(n)
    for moment in moments:
        start = int(moment)
        if 0 <= start < n:
            event = make()[: n - start]
            total[start : start + len(event)] += event
    return total


def voiced(source: Samples, formants: Iterable[tuple[float, float, float]]) -> Samples:
    """A source through parallel resonances of (frequency, bandwidth, gain)."""
    total = np.zeros(len(source))
    for frequency, width, gain in formants:
        radius = np.exp(-np.pi * width / RATE)
        feedback = [1, -2 * radius * np.cos(2 * np.pi * frequency / RATE), radius**2]
        total += gain * lfilter([1 - radius], feedback, source)
    return total


def level(x: Samples) -> Samples:
    """Scaled to a peak of one."""
    return np.asarray(x / (np.abs(x).max() + 1e-9))


# Tones, steady and moving


@sound
def held_tone(draw: Draw, u: float, v: float, n: int) -> Samples:
    gate = np.sin(2 * np.pi * between(v, 0.4, 8) * clock(n)) > 0
    return tone(between(u, 100, 6000), n) * (0.05 + gate)


@sound
def siren(draw: Draw, u: float, v: float, n: int) -> Samples:
    return tone(between(u, 300, 1200) * 2 ** (0.6 * np.sin(2 * np.pi * between(v, 0.3, 4) * clock(n))), n)


@sound
def two_tone_horn(draw: Draw, u: float, v: float, n: int) -> Samples:
    low, swap = between(u, 350, 1500), np.sin(2 * np.pi * between(v, 0.5, 4) * clock(n)) > 0
    return passing(np.sign(tone(np.where(swap, low, 1.33 * low), n)), high=4000)


@sound
def alarm(draw: Draw, u: float, v: float, n: int) -> Samples:
    beat = between(v, 1.5, 7) * clock(n)
    return np.asarray(
        np.sign(tone(between(u, 700, 4200), n))
        * (beat % 1 < 0.4)
        * (beat / 4 % 1 < float(draw.choice([0.5, 0.76, 1.0])))
    )


@sound
def tremolo(draw: Draw, u: float, v: float, n: int) -> Samples:
    return np.asarray(tone(between(u, 200, 5000), n) * (1 + np.sin(2 * np.pi * between(v, 3, 60) * clock(n))))


@sound
def ringing_vibrato(draw: Draw, u: float, v: float, n: int) -> Samples:
    return tone(between(u, 200, 3000) * (1 + 0.3 * np.sin(2 * np.pi * between(v, 8, 80) * clock(n))), n)


@sound
def repeated_scoop(draw: Draw, u: float, v: float, n: int) -> Samples:
    """A tone that dips and comes back, again and again."""
    position = (between(v, 1, 8) * clock(n)) % 1
    return tone(between(u, 400, 4000) * 2 ** (2 * (position - 0.5) ** 2 * 3), n) * np.sin(np.pi * position) ** 0.5


@sound
def mains_hum(draw: Draw, u: float, v: float, n: int) -> Samples:
    return harmonics(between(u, 45, 250), n, draw, int(between(v, 2, 25)), 0.8) + 0.02 * white(draw, n)


# Noise, steady and gusty


@sound
def steam(draw: Draw, u: float, v: float, n: int) -> Samples:
    return passing(white(draw, n), low=between(u, 50, 4000)) * (1 + 0.9 * v * np.tanh(drift(draw, n, 3)))


@sound
def wind(draw: Draw, u: float, v: float, n: int) -> Samples:
    centre, gust = between(u, 150, 900), 0.5 + 0.5 * np.tanh(drift(draw, n, between(v, 0.5, 4)))
    noise = coloured(draw, n, 0.5)
    return passing(noise, 0.6 * centre, 1.6 * centre) * (1 - gust) + 2 * passing(noise, centre, 3 * centre) * gust


@sound
def downpour(draw: Draw, u: float, v: float, n: int) -> Samples:
    return passing(white(draw, n), between(u, 300, 1500), between(v, 3000, 7800)) * (1 + 0.1 * drift(draw, n, 8))


@sound
def surf(draw: Draw, u: float, v: float, n: int) -> Samples:
    swell = (0.5 + 0.5 * np.sin(2 * np.pi * clock(n) / between(u, 1.2, 5) + draw.uniform(0, 6))) ** between(v, 0.7, 4)
    return coloured(draw, n, 0.5) * (0.1 + swell) + 0.3 * swell * passing(white(draw, n), low=1500)


@sound
def pulsing_noise(draw: Draw, u: float, v: float, n: int) -> Samples:
    centre = between(u, 200, 4000)
    pulse = 0.5 + 0.5 * np.sin(2 * np.pi * between(v, 2, 30) * clock(n))
    return passing(white(draw, n), 0.6 * centre, 1.7 * centre) * pulse


@sound
def noise_bursts(draw: Draw, u: float, v: float, n: int) -> Samples:
    centre, size = between(u, 250, 5000), int(RATE * between(v, 0.03, 0.5))
    moments = random_moments(draw, n, draw.uniform(1, 3))
    return scatter(n, moments, lambda: passing(white(draw, size), 0.5 * centre, 2 * centre) * np.hanning(size) ** 0.5)


@sound
def scraping(draw: Draw, u: float, v: float, n: int) -> Samples:
    centre = between(u, 500, 3500)
    return passing(white(draw, n), 0.8 * centre, 1.25 * centre) * np.maximum(0, drift(draw, n, between(v, 3, 20)))


@sound
def brushing(draw: Draw, u: float, v: float, n: int) -> Samples:
    """Strokes of noise to and fro, brighter one way."""
    stroke = np.sin(2 * np.pi * between(v, 1, 5) * clock(n))
    high, low = (
        passing(white(draw, n), low=between(u, 2000, 6000)),
        passing(white(draw, n), between(u, 600, 2500), 6000),
    )
    return high * np.maximum(0, stroke) + 0.7 * low * np.maximum(0, -stroke)


# Water and fire


@sound
def drops(draw: Draw, u: float, v: float, n: int) -> Samples:
    centre = between(u, 1000, 5000)

    def drop() -> Samples:
        size = int(RATE * draw.uniform(0.003, 0.02))
        return tone(centre * draw.uniform(0.6, 1.5), size) * decay(size, 0.004) * draw.exponential()

    return scatter(n, random_moments(draw, n, between(v, 30, 400)), drop) + 0.05 * passing(white(draw, n), low=800)


@sound
def bubbles(draw: Draw, u: float, v: float, n: int) -> Samples:
    def bubble() -> Samples:
        size = int(RATE * draw.uniform(0.02, 0.08))
        return tone(
            between(u, 250, 1500) * draw.uniform(0.7, 1.5) * 2 ** (0.8 * np.linspace(0, 1, size)), size
        ) * decay(size, 0.02, 0.002)

    return scatter(n, random_moments(draw, n, between(v, 4, 50)), bubble)


@sound
def brook(draw: Draw, u: float, v: float, n: int) -> Samples:
    def gurgle() -> Samples:
        size = int(RATE * draw.uniform(0.01, 0.05))
        rising = between(u, 500, 2500) * draw.uniform(0.5, 2) * 2 ** (0.5 * np.linspace(0, 1, size))
        return tone(rising, size) * np.hanning(size) * draw.exponential()

    return scatter(n, random_moments(draw, n, 120), gurgle) + between(v, 0.02, 0.4) * coloured(draw, n, 0.5)


@sound
def burning(draw: Draw, u: float, v: float, n: int) -> Samples:
    def snap() -> Samples:
        size = int(RATE * draw.uniform(0.001, 0.012))
        return np.asarray(white(draw, size) * decay(size, between(u, 0.001, 0.006), 0.0002) * draw.exponential() ** 1.5)

    bed = draw.uniform(0.02, 0.2) * passing(coloured(draw, n, 1.0), high=600)
    return scatter(n, random_moments(draw, n, between(v, 5, 80)), snap) + bed


# Impacts and rhythms


@sound
def ticking(draw: Draw, u: float, v: float, n: int) -> Samples:
    pitch, length, odd = between(u, 800, 5500), draw.uniform(0.002, 0.02), [False]
    other = draw.uniform(0.6, 1)

    def tick() -> Samples:
        odd[0] = not odd[0]
        size = int(0.05 * RATE)
        return (tone(pitch * (other if odd[0] else 1), size) + 0.5 * white(draw, size)) * decay(size, length, 0.0003)

    return scatter(n, steady(draw, n, between(v, 1, 8), 0.005), tick)


@sound
def ratchet(draw: Draw, u: float, v: float, n: int) -> Samples:
    low, high = between(u, 300, 3000), between(u, 900, 7000)
    return scatter(n, steady(draw, n, between(v, 6, 40), 0.01), lambda: passing(white(draw, 264), low, high)[:64])


@sound
def door_knock(draw: Draw, u: float, v: float, n: int) -> Samples:
    pitch = between(u, 90, 900)

    def knock() -> Samples:
        size = int(0.2 * RATE)
        body = sum((tone(pitch * k, size) * decay(size, 0.03 / k) for k in (1.0, 1.6, 2.3)), np.zeros(size))
        return body + 0.4 * passing(white(draw, size), high=2000) * decay(size, 0.006)

    return scatter(n, steady(draw, n, between(v, 1, 6), 0.1), knock)


@sound
def struck_metal(draw: Draw, u: float, v: float, n: int) -> Samples:
    partials = between(u, 300, 2500) * draw.uniform(1, 6, 8)

    def clang() -> Samples:
        size = int(1.2 * RATE)
        ring = (
            tone(f, size) * decay(size, between(v, 0.08, 0.8) / (f / partials.min()) ** 0.5)
            for f in partials
            if f < 7800
        )
        return sum(ring, np.zeros(size))

    return scatter(n, random_moments(draw, n, draw.uniform(0.8, 2.5)), clang)


@sound
def bell(draw: Draw, u: float, v: float, n: int) -> Samples:
    pitch = between(u, 250, 2000)

    def strike() -> Samples:
        parts = ((1, 1), (2.0, 0.6), (2.4, 0.5), (3, 0.3), (4.5, 0.2))
        return sum((gain * tone(pitch * k, RATE) * decay(RATE, 0.6 / k) for k, gain in parts), np.zeros(RATE))

    return scatter(n, steady(draw, n, between(v, 0.8, 6), 0.01), strike)


@sound
def footsteps(draw: Draw, u: float, v: float, n: int) -> Samples:
    size = int(0.12 * RATE)

    def step() -> Samples:
        heel = passing(white(draw, size), high=between(u, 300, 3500)) * decay(size, 0.02)
        return heel + 0.5 * np.roll(passing(white(draw, size), low=2000) * decay(size, 0.01), 400)

    return scatter(n, steady(draw, n, between(v, 1.2, 4), 0.05), step)


@sound
def applause(draw: Draw, u: float, v: float, n: int) -> Samples:
    centre, size = between(u, 700, 2500), int(0.15 * RATE)

    def clap() -> Samples:
        double = decay(size, 0.02) + 0.5 * np.exp(-np.abs(clock(size) - 0.012) / 0.004)
        return passing(white(draw, size), 0.6 * centre, 1.8 * centre) * double

    return scatter(n, random_moments(draw, n, between(v, 2, 20)), clap)


@sound
def explosions(draw: Draw, u: float, v: float, n: int) -> Samples:
    size = int(1.5 * RATE)
    return scatter(
        n,
        random_moments(draw, n, 0.6),
        lambda: passing(white(draw, size), high=between(u, 200, 3000)) * decay(size, between(v, 0.1, 0.6), 0.002),
    )


@sound
def drum(draw: Draw, u: float, v: float, n: int) -> Samples:
    size = int(0.4 * RATE)

    def beat() -> Samples:
        return tone(between(u, 40, 110) * (1 + 4 * np.exp(-clock(size) / 0.02)), size) * decay(
            size, between(v, 0.06, 0.3)
        )

    return scatter(n, steady(draw, n, draw.uniform(1, 5)), beat)


@sound
def cymbal(draw: Draw, u: float, v: float, n: int) -> Samples:
    size = int(0.3 * RATE)
    return scatter(
        n,
        steady(draw, n, draw.uniform(1.5, 8)),
        lambda: passing(white(draw, size), low=between(u, 400, 6000)) * decay(size, between(v, 0.015, 0.15)),
    )


# Machines


@sound
def engine(draw: Draw, u: float, v: float, n: int) -> Samples:
    phase = np.cumsum(between(u, 18, 110) * (1 + 0.03 * drift(draw, n, 2))) / RATE
    firing = np.maximum(0, np.sin(2 * np.pi * phase)) ** 8 + 0.5 * np.maximum(0, np.sin(np.pi * phase)) ** 8
    return passing(firing - firing.mean() + 0.2 * firing * white(draw, n), high=between(v, 300, 4000))


@sound
def revving(draw: Draw, u: float, v: float, n: int) -> Samples:
    throttle = 0.5 + 0.5 * np.sin(2 * np.pi * between(v, 0.3, 2) * clock(n) + draw.uniform(0, 6))
    return harmonics(between(u, 40, 130) * 2 ** (0.8 * throttle), n, draw, 30, 0.6) * (1 + 0.2 * white(draw, n))


@sound
def sawing(draw: Draw, u: float, v: float, n: int) -> Samples:
    blade = 2 * ((np.cumsum(between(u, 60, 260) * (1 + 0.05 * drift(draw, n, 6))) / RATE) % 1) - 1
    return passing(blade, low=100) + 0.5 * between(v, 0.05, 1.0) * passing(white(draw, n), low=1500)


@sound
def rotor(draw: Draw, u: float, v: float, n: int) -> Samples:
    rate = between(u, 6, 28)
    sweep = (0.5 + 0.5 * np.sin(2 * np.pi * rate * clock(n))) ** draw.uniform(2, 6)
    whine = 0.15 * harmonics(rate * draw.integers(3, 8), n, draw, 10, 1.0)
    return passing(coloured(draw, n, 1.0), high=between(v, 200, 2500)) * (sweep + 0.1) + whine


@sound
def vacuum(draw: Draw, u: float, v: float, n: int) -> Samples:
    """A motor's whine in a broad rush of air."""
    whine = harmonics(between(u, 150, 900) * (1 + 0.01 * drift(draw, n, 3)), n, draw, 12, 0.7)
    return between(v, 0.1, 1.0) * whine + passing(white(draw, n), 200, 5000)


@sound
def train_on_rails(draw: Draw, u: float, v: float, n: int) -> Samples:
    size = int(0.15 * RATE)
    pairs = np.concatenate([[m, m + 0.12 * RATE] for m in steady(draw, n, between(v, 0.6, 2.5))] or [[0.0]])
    clack = scatter(n, pairs, lambda: passing(white(draw, size), 200, between(u, 800, 4000)) * decay(size, 0.03))
    return clack + 0.15 * coloured(draw, n, 1.0)


# Creatures


@sound
def songbird(draw: Draw, u: float, v: float, n: int) -> Samples:
    def note() -> Samples:
        size = int(RATE * draw.uniform(0.04, 0.18))
        t = np.linspace(0, 1, size)
        bend = draw.normal(0, 0.4) * t + 0.3 * np.sin(2 * np.pi * draw.uniform(1, 6) * t)
        return tone(between(u, 1500, 4500) * 2**bend, size) * np.hanning(size) * draw.uniform(0.4, 1)

    return scatter(n, random_moments(draw, n, between(v, 2, 12)), note)


@sound
def insects(draw: Draw, u: float, v: float, n: int) -> Samples:
    t = clock(n)
    wings = np.maximum(0, np.sin(2 * np.pi * between(v, 15, 90) * t))
    return tone(between(u, 2200, 6500), n) * wings * (np.sin(2 * np.pi * draw.uniform(0.8, 4) * t) > -0.3)


@sound
def barking(draw: Draw, u: float, v: float, n: int) -> Samples:
    def bark() -> Samples:
        size = int(RATE * draw.uniform(0.08, 0.25))
        t = np.linspace(0, 1, size)
        throat = harmonics(between(u, 180, 700) * (1 + 0.5 * np.sin(np.pi * t) - 0.3 * t), size, draw, 40, 0.5)
        mouth = voiced(throat, [(draw.uniform(500, 1000), 150, 1), (draw.uniform(1100, 2200), 250, 0.7)])
        return (level(mouth) + 0.25 * white(draw, size)) * np.sin(np.pi * t) ** 0.6

    return scatter(n, random_moments(draw, n, between(v, 0.8, 4)), bark)


@sound
def wailing(draw: Draw, u: float, v: float, n: int) -> Samples:
    def wail() -> Samples:
        size = int(RATE * between(v, 0.3, 1.3))
        t = np.linspace(0, 1, size)
        quaver = 0.02 * np.sin(2 * np.pi * draw.uniform(5, 9) * size / RATE * t)
        throat = harmonics(between(u, 280, 700) * (1 + 0.35 * np.sin(np.pi * t) ** 0.7 + quaver), size, draw, 40, 0.4)
        mouth = voiced(throat, [(draw.uniform(700, 1300), 150, 1), (draw.uniform(2500, 4000), 300, 0.8)])
        return level(mouth) * np.sin(np.pi * t) ** 0.4

    return scatter(n, steady(draw, n, draw.uniform(0.5, 1.3), 0.1), wail)


@sound
def crowing(draw: Draw, u: float, v: float, n: int) -> Samples:
    def call() -> Samples:
        syllables = []
        for _ in range(draw.integers(2, 5)):
            size = int(RATE * between(v, 0.1, 0.4) * draw.uniform(0.6, 1.4))
            t = np.linspace(0, 1, size)
            pitch = between(u, 350, 900) * draw.uniform(0.8, 1.4) * (1 + 0.2 * np.sin(np.pi * t))
            resonances = [(draw.uniform(900, 1500), 200, 1), (draw.uniform(2000, 3200), 300, 1)]
            syllables += [level(voiced(harmonics(pitch, size, draw, 40, 0.3), resonances)) * np.sin(np.pi * t) ** 0.3]
            syllables += [np.zeros(int(0.03 * RATE))]
        return np.concatenate(syllables)

    return scatter(n, random_moments(draw, n, 0.5), call)


@sound
def coughing(draw: Draw, u: float, v: float, n: int) -> Samples:
    centre = between(u, 500, 2000)

    def cough() -> Samples:
        size = int(RATE * draw.uniform(0.15, 0.45))
        noise = white(draw, size)
        throat = passing(noise, 0.5 * centre, 1.5 * centre) + 0.5 * draw.random() * passing(noise, low=3000)
        return throat * decay(size, draw.uniform(0.05, 0.15), 0.005)

    return scatter(n, random_moments(draw, n, between(v, 0.6, 2.5)), cough)


@sound
def sneezing(draw: Draw, u: float, v: float, n: int) -> Samples:
    def sneeze() -> Samples:
        breath, burst = (int(RATE * draw.uniform(0.15, 0.4)) for _ in range(2))
        drawn = passing(white(draw, breath), between(u, 500, 1500), 4000) * np.linspace(0, 1, breath) ** 2
        return np.concatenate(
            [drawn, passing(white(draw, burst), between(v, 800, 2500), 7500) * decay(burst, 0.1, 0.01)]
        )

    return scatter(n, random_moments(draw, n, 0.6), sneeze)


@sound
def breathing(draw: Draw, u: float, v: float, n: int) -> Samples:
    cycle = np.sin(2 * np.pi * between(v, 0.3, 1.5) * clock(n) + draw.uniform(0, 6))
    inward = passing(white(draw, n), between(u, 700, 2000), 5000)
    outward = passing(white(draw, n), between(u, 300, 1200), 3000)
    return np.asarray(inward * np.maximum(0, cycle) + outward * np.maximum(0, -cycle) ** 2)


@sound
def babbling(draw: Draw, u: float, v: float, n: int) -> Samples:
    """One to three voices gliding between vowels, without words."""
    total = np.zeros(n)
    for _ in range(draw.integers(1, 4)):
        throat = harmonics(between(u, 80, 280) * 2 ** (0.25 * drift(draw, n, 3)), n, draw, 25, 0.8)
        vowels = [draw.uniform(300, 900, n // 1600 + 1), draw.uniform(900, 2600, n // 1600 + 1)]
        pieces = [
            voiced(throat[start : start + 1600], [(formant[start // 1600], 120, 1) for formant in vowels])
            for start in range(0, n, 1600)
        ]
        syllables = np.maximum(0, np.sin(2 * np.pi * between(v, 1.5, 6) * clock(n) + drift(draw, n, 3)))
        total += np.concatenate(pieces) * syllables
    return total


# Music


@sound
def plucked(draw: Draw, u: float, v: float, n: int) -> Samples:
    """A string by Karplus and Strong's delay line."""
    size = int(0.8 * RATE)

    def note() -> Samples:
        period = int(RATE / (between(u, 90, 900) * 2 ** (draw.choice([0, 2, 4, 7, 9, 12]) / 12)))
        excited = np.zeros(size)
        excited[:period] = draw.uniform(-1, 1, period)
        keep = between(v, 0.96, 0.998) / 2
        return np.asarray(lfilter([1], np.r_[1, np.zeros(period - 1), -keep, -keep], excited))

    return scatter(n, random_moments(draw, n, 3), note)


@sound
def chord(draw: Draw, u: float, v: float, n: int) -> Samples:
    intervals = ((1, 1.26, 1.5), (1, 1.2, 1.5), (1, 1.33, 1.78))[draw.integers(3)]
    root, tilt = between(u, 80, 500), between(v, 0.4, 2.5)
    voices = (harmonics(root * k * (1 + 0.003 * drift(draw, n, 6)), n, draw, 12, tilt) for k in intervals)
    return sum(voices, np.zeros(n)) * (0.6 + 0.4 * np.tanh(drift(draw, n, 2)))


@sound
def melody(draw: Draw, u: float, v: float, n: int) -> Samples:
    """Blown notes of a scale, one after another."""
    size = int(RATE / between(v, 1, 6))
    root = between(u, 200, 1200)

    def note() -> Samples:
        pitch = root * 2 ** (draw.choice([0, 2, 4, 5, 7, 9, 11]) / 12)
        blown = harmonics(pitch * (1 + 0.005 * tone(6.0, size)), size, draw, 8, 1.2) + 0.05 * white(draw, size)
        return blown * np.hanning(size) ** 0.25

    return scatter(n, np.arange(0, n, size), note)


def make(name: str, draw: Draw, seconds: float = 5.0) -> tuple[NDArray[np.float32], int]:
    """One sound as a microphone in some room would hear it.

    Args:
        name: of the generator.
        draw: source of everything random.
        seconds: length.

    Returns:
        (samples,) within -1 to 1 at 16 kHz, and which of the generator's four labels it is.
    """
    n = round(seconds * RATE)
    first, second = draw.random(2)
    x = level(np.nan_to_num(SOUNDS[name](draw, first, second, n)))
    if draw.random() < 0.4:
        size = int(RATE * draw.uniform(0.1, 0.5))
        echo = draw.standard_normal(size) * np.exp(-5 * np.arange(size) / size)
        x += draw.uniform(0.2, 0.7) * fftconvolve(x, echo / np.linalg.norm(echo))[:n]
    if draw.random() < 0.5:
        x += 10 ** draw.uniform(-3, -1) * coloured(draw, n, draw.choice([0.0, 0.5]))
    return (level(x) * 10 ** draw.uniform(-1.25, 0)).astype(np.float32), 2 * (first > 0.5) + (second > 0.5)
