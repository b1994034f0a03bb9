"""What travels between a robot and its planner: the same bytes as openpi's, and nothing that is damaged becomes an object."""

import sys
from typing import Any

import numpy as np
import pytest

msgpack = pytest.importorskip("msgpack")

from robo_dream.embodiment import ArmState, Frame, Observation  # noqa: E402
from robo_dream.errors import DataError, MissingExtraError  # noqa: E402
from robo_dream.runtime.serving.wire import DTYPES, MAX_PARTS, observation_in, observation_message, pack, unpack  # noqa: E402


def header(**changes: Any) -> dict[Any, Any]:
    """An array of two float32 as it travels, changed; None leaves a key out."""
    whole = {"__ndarray__": True, "data": bytes(8), "dtype": "<f4", "shape": [2]} | changes
    return {key.encode(): value for key, value in whole.items() if value is not None}


def test_arrays_come_back_as_they_were() -> None:
    rng = np.random.default_rng(0)
    sent = {dtype: (2 * rng.random((2, 3))).astype(np.dtype(dtype)) for dtype in DTYPES}
    sent |= {"empty": np.zeros((0, 3), np.float32), "number": np.float32(0.5), "inside": {"list": [1, 2.5, None, "text", True]}}
    came = unpack(pack(sent))
    assert came["inside"] == sent["inside"] and came["number"] == sent["number"] and came["empty"].shape == (0, 3)
    for dtype in DTYPES:
        assert came[dtype].dtype == sent[dtype].dtype and np.array_equal(came[dtype], sent[dtype])


def test_the_bytes_are_those_of_openpi() -> None:
    openpi = pytest.importorskip("openpi_client.msgpack_numpy")
    sent = {"images": {"front": np.arange(24, dtype=np.uint8).reshape(2, 4, 3)}, "step": np.int64(3), "x": np.float32(0.5), "text": "push"}
    assert pack(sent) == openpi.packb(sent)
    np.testing.assert_array_equal(unpack(openpi.packb(sent))["images"]["front"], sent["images"]["front"])


@pytest.mark.parametrize(
    "array",
    [
        header(shape=[3]), header(shape=[-2]), header(shape=[1 << 40, 1 << 40]), header(shape=[1] * 9 + [2]), header(shape=2),
        header(shape=[True, 2]), header(shape=[2.0]), header(data="text"), header(data=None), header(dtype="|O"), header(dtype=">f4"),
        header(dtype="V8"), header(dtype=["<f4"]), header(dtype="<c8"), header(dtype=None), header(more=1), header(__ndarray__=1),
        header(dtype="|b1", data=b"\x02\x01"), {b"__npgeneric__": True, b"data": [1], b"dtype": "<f4"},
        {b"__npgeneric__": True, b"data": 300, b"dtype": "|u1"}, {b"__npgeneric__": True, b"data": 1, b"dtype": "|O"},
    ],
)  # fmt: skip
def test_a_header_that_does_not_fit_its_bytes_is_an_error(array: dict[Any, Any]) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        unpack(msgpack.packb({"x": array}))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xc1", b"\x93\x01", b"\x05", b"\x90", b"\xdd\xff\xff\xff\xff", b"\x91" * 5000 + b"\x90", msgpack.packb({1: 2}),
        msgpack.packb({"x": [[]] * 9000, "y": [[]] * (MAX_PARTS - 8000)}), msgpack.packb({"x": msgpack.ExtType(4, b"code")}),
        msgpack.packb({"x": msgpack.Timestamp(1)}), msgpack.packb({"a": 1}) + b"\x01", pack({"a": np.zeros(9)})[:-1],
    ],
)  # fmt: skip
def test_what_is_no_message_is_an_error(data: bytes) -> None:
    with pytest.raises(DataError):
        unpack(data)


@pytest.mark.parametrize("value", [np.array([object()]), np.array(["text"]), np.zeros(2, np.complex64), object(), {1, 2}])
def test_what_cannot_travel_is_an_error(value: object) -> None:
    with pytest.raises(DataError, match="cannot be sent"):
        pack({"x": value})


def test_an_observation_comes_back_without_the_truth() -> None:
    arm = ArmState(
        1.5, np.arange(6.0), np.ones(6), np.array([0.1, 0.2, 0.3]), np.array([0.0, 1.0, 0.0, 0.0]), 0.4, 0.5, np.zeros(3), 0.6, 0.7
    )
    picture = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    seen = Observation(2.0, {"front": Frame(1.9, picture, 7)}, arm, {"object_pose": np.zeros(7)})
    came = observation_in(unpack(pack({"observation": observation_message(seen)})), "observation", 0)
    assert came.time == 2.0 and came.frames["front"].time == 1.9 and not came.truth and came.arm.joint_target is None
    np.testing.assert_array_equal(came.frames["front"].image, picture)
    np.testing.assert_array_equal(came.arm.proprio, arm.proprio)
    np.testing.assert_array_equal(came.arm.joint_pos, arm.joint_pos)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": {"front": np.zeros((4, 4), np.uint8)}}, "camera 'front'"), ({"images": {"front": np.zeros((4, 4, 3))}}, "uint8"),
        ({"imagse": {}}, "did you mean images"), ({"images": None}, "images"), ({"arm": {"joint_pos": np.zeros(6)}}, "tool_pos"),
        ({"time": "now"}, "time"), ({"arm": 3}, "arm"),
    ],
)  # fmt: skip
def test_an_observation_that_lacks_something_is_named(change: dict[str, Any], said: str) -> None:
    whole = {"time": 0.0, "images": {"front": np.zeros((4, 4, 3), np.uint8)}}
    with pytest.raises(DataError, match=said):
        observation_in({"observation": whole | change}, "observation", 0)


def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgpack", None)
    with pytest.raises(MissingExtraError, match=r"needs msgpack.*'\.\[serve\]'"):
        pack({})
