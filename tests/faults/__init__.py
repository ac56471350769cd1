"""Hostile inputs, kills, full disks and power cuts; `docs/reliability.md` says what holds and how often it was tried."""
