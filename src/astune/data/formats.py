"""Suffixes of audio files: those libsndfile decodes, and those it does not."""

from __future__ import annotations

_READABLE = (
    "8svx aif aifc aiff au avr bwf caf flac htk iff ircam mp1 mp2 mp3 nist oga ogg opus paf pvf rf64 sds sf snd sph svx "
    "voc w64 wav wave wavex wve"
)
SUFFIXES = frozenset(f".{name}" for name in _READABLE.split())
"""Of files taken for audio when a folder is searched; a file named by a table may have any."""
_UNREADABLE = (
    "3g2 3ga 3gp aa aac aax ac3 aup aup3 adts alac amr ape asf at3 avi awb dff dsf dts eac3 f4a flv g722 gsm m4a m4b m4p m4r m4v "
    "mid midi mka mkv mogg mov mp4 mpc mpeg mpg ofr ogv oma pcm qcp ra ram raw rm sd2 shn spx tak tta vqf w4v wac weba webm wma wmv wv zc"
)
UNREADABLE = frozenset(f".{name}" for name in _UNREADABLE.split())
"""Of audio and video files that libsndfile does not decode; they are counted where they are passed over."""
