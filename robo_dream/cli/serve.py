"""`robo-dream serve`: a planner that robots ask over a network."""

import argparse
from dataclasses import replace
from pathlib import Path

from robo_dream.cli.config_arguments import add_config_arguments, load_config
from robo_dream.runtime.serving.server import ServeConfig, serve_forever

_DESCRIPTION = """\
Loads a checkpoint and plans for whoever asks: robots that run `robo-dream run` with a remote planner and need no torch, or any client that
speaks openpi's protocol (websocket, msgpack with NumPy), such as the unmodified openpi-client. Decisions of several robots are made in one
search. Health is at /healthz, metrics for Prometheus are at /metrics, both over HTTP on the same port.

It listens on this machine alone, unless host= says otherwise; then clients must show the token in token_file=. With certificate= and key=
everything is encrypted. Needs the extra `serve`: pip install --constraint configs/constraints.txt --editable '.[serve]'"""

_EPILOG = """\
example:
  robo-dream serve configs/checkpoints/jaco_recorded_s.safetensors
  robo-dream serve configs/checkpoints/jaco_recorded_s.safetensors port=9000 max_together=1
  robo-dream serve configs/checkpoints/jaco_recorded_s.safetensors planning.planner.num_samples=64
  robo-dream serve configs/checkpoints/jaco_recorded_s.safetensors host=192.0.2.7 token_file=token.txt certificate=server.pem key=server.key

Nothing is kept: records are written on the robot's side. Ctrl-C ends it."""

CONFIG = ServeConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a .safetensors file of `robo-dream train`")
    add_config_arguments(parser, "serve")


def run(args: argparse.Namespace) -> int:
    config = replace(load_config(ServeConfig, args), checkpoint=args.checkpoint)
    return serve_forever(config, lambda text: print(text, flush=True))
