"""The interface's own colours. It paints its own background: a light terminal stays readable."""

from __future__ import annotations

from typing import Final

from textual.theme import Theme

DARK: Final = Theme(
    name="kith-dark",
    primary="#e0a458",
    secondary="#7fb0a8",
    accent="#e0a458",
    warning="#e6c15c",
    error="#e07a6a",
    success="#8fbf7f",
    foreground="#e6e1d6",
    background="#16181c",
    surface="#1c1f24",
    panel="#262a31",
    dark=True,
    variables={"muted": "#9a978f", "line": "#3a3f48", "code": "#20242a"},
)

LIGHT: Final = Theme(
    name="kith-light",
    primary="#8f4f0b",
    secondary="#1f6b60",
    accent="#8f4f0b",
    warning="#7a5a00",
    error="#a8321f",
    success="#2f6b28",
    foreground="#22211e",
    background="#faf7f0",
    surface="#f3eee3",
    panel="#e7e0d1",
    dark=False,
    variables={"muted": "#635f57", "line": "#c9c0ad", "code": "#efe9db"},
)
