"""Suffixes of audio files: those libsndfile decodes, those PyAV decodes, and those neither does."""

from __future__ import annotations

from functools import cache

from astune.extras import install_command, missing_packages

_LIBSNDFILE = (
    "8svx aif aifc aiff au avr bwf caf flac htk iff ircam mp1 mp2 mp3 nist oga ogg opus paf pvf rf64 sds sf snd sph svx "
    "voc w64 wav wave wavex wve"
)
SUFFIXES = frozenset(f".{name}" for name in _LIBSNDFILE.split())
"""Suffixes of files that libsndfile decodes."""
_AV = (
    "3g2 3ga 3gp aac ac3 adts alac amr ape asf avi awb dff dsf dts eac3 f4a f4v flv m4a m4b m4r m4v mka mkv mov mp4 mpc mpeg mpg ogv "
    "ra rm spx tak tta weba webm wma wmv wv"
)
AV_SUFFIXES = frozenset(f".{name}" for name in _AV.split()) - SUFFIXES
"""Suffixes of audio and video files that PyAV, an optional package, decodes."""
_NEITHER = "aa aax aup aup3 at3 gsm g722 m4p mid midi mogg ofr oma pcm qcp ram raw sd2 shn vqf w4v wac zc"
UNREADABLE = frozenset(f".{name}" for name in _NEITHER.split())
"""Suffixes of audio files that neither decodes; they are counted when they are skipped."""
INSTALL = install_command("av")
"""What makes PyAV's formats readable."""


@cache
def av_installed() -> bool:
    """Whether PyAV is installed, which decodes what libsndfile does not."""
    return not missing_packages("av")


def readable_suffixes() -> frozenset[str]:
    """Suffixes of files that are taken for audio when a folder is searched; a file named by a table may have any."""
    return SUFFIXES | AV_SUFFIXES if av_installed() else SUFFIXES


def decoders() -> list[str]:
    """Names of the libraries that decode here: where one is added, files that could not be read may be readable."""
    return ["libsndfile", "av"] if av_installed() else ["libsndfile"]
