"""The API room: HTTP for OpenAI's clients, the command line and the terminal interface."""

from node.api.app import build_app
from node.api.parts import Parts
from node.api.server import Bound, serve
from node.api.sockets import CannotListen

__all__ = ["Bound", "CannotListen", "Parts", "build_app", "serve"]
