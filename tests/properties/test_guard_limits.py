"""Whatever a commander asks for, and whatever happens to the arm's answers: the wire sees no violation."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from robo_dream.embodiment import ArmState
from robo_dream.safety.guard import Guard, Request
from robo_dream.safety.limits import SafetyLimits
from robo_dream.safety.motion import Motion, MotionLimits, at_rest, braked, rest_of, toward

DT = 0.02
LOW, HIGH = np.array([-1.0, -2.0, 0.0]), np.array([1.0, 2.0, 1.0])
LIMITS = MotionLimits(("a", "b", "gripper"), LOW, HIGH, np.array([1.0, 0.5, 5.0]), np.array([10.0, 15.0, 100.0]), DT)
ROUNDING = 1e-6  # of float64 sums over some hundred commands; and the 1e-9 by which steps at their limit are within it
numbers = st.floats(-4.0, 4.0)
targets = st.tuples(numbers, numbers, st.floats(-0.5, 1.5)).map(np.array)


def require_within(commands: list[np.ndarray]) -> None:
    path = np.stack(commands)
    assert (path >= LOW - ROUNDING).all() and (path <= HIGH + ROUNDING).all()
    speed = np.diff(path, axis=0, prepend=path[:1]) / DT
    assert (np.abs(speed) <= LIMITS.speed * (1 + ROUNDING) + ROUNDING).all()
    change = np.diff(speed, axis=0, prepend=np.zeros((1, 3))) / DT
    assert (np.abs(change) <= LIMITS.acceleration * (1 + ROUNDING) + ROUNDING / DT).all()


@settings(max_examples=60)
@given(st.lists(st.tuples(targets, st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_steps_toward_anything_keep_position_speed_and_acceleration(orders: list[tuple[np.ndarray, bool, bool]]) -> None:
    motion = at_rest(np.array([0.2, 0.0, 0.5]))
    commands = [motion.command]
    for target, is_end, brakes in orders:
        before = rest_of(motion, LIMITS)
        motion = braked(motion, LIMITS) if brakes else toward(motion, target, LIMITS, is_end)[0]
        if brakes:
            np.testing.assert_allclose(rest_of(motion, LIMITS), before, atol=1e-9)  # braking does not move where braking ends
        commands.append(motion.command)
    while not motion.is_at_rest:
        motion = braked(motion, LIMITS)
        commands.append(motion.command)
    require_within(commands)


@settings(max_examples=10)
@given(targets, st.integers(0, 2**16))
def test_target_that_stays_is_reached_and_not_passed(target: np.ndarray, seed: int) -> None:
    start = np.random.default_rng(seed).uniform(LOW, HIGH)
    motion, inside = at_rest(start), np.clip(target, LOW, HIGH)
    for _ in range(450):
        motion, _ = toward(motion, target, LIMITS, is_end=True)
        assert ((motion.command - inside) * (start - inside) >= -1e-9).all()
    np.testing.assert_allclose(motion.command, inside, atol=1e-9)


order = st.fixed_dictionaries({
    "target": targets,
    "ticks": st.integers(1, 12),
    "duration": st.sampled_from([0.02, 0.05, 0.1, 0.3]),
    "what": st.sampled_from(["target"] * 6 + ["nothing", "stop", "mute", "stray", "emergency"]),
})  # fmt: skip


@settings(max_examples=25)
@given(st.lists(order, min_size=1, max_size=12))
def test_whatever_happens_the_wire_sees_no_violation_between_hard_stops(orders: list[dict]) -> None:
    guard = Guard(LIMITS, SafetyLimits())
    now, at, wanted = 5.0, np.array([0.1, -0.3, 0.2]), None
    commands: list[np.ndarray] = [at]
    unknown = np.full(3, np.nan)
    for each in orders:
        if each["what"] == "target":
            wanted = Request(each["target"], now, each["duration"])
        elif each["what"] == "stop":
            guard.stop("asked")
        elif each["what"] == "emergency":
            guard.emergency_stop("key")
            guard.reset()
        for _ in range(each["ticks"]):
            joints = at[:-1] + (0.5 if each["what"] == "stray" else 0.0)
            age = 0.2 if each["what"] == "mute" else 0.0
            state = ArmState(now - age, joints, np.zeros(2), unknown, np.full(4, np.nan), np.nan, at[-1], unknown, np.nan, at[-1])
            command, verdict = guard.tick(now, state, wanted)
            if verdict.act == "SEND":
                commands.append(command)
                at = command
            elif verdict.act == "STOP" or guard.is_latched:  # from here it starts anew, where the arm is
                require_within(commands)
                if guard.is_latched:
                    guard.reset()
                commands = [at]
            now += DT
    require_within(commands)


def test_arm_that_stands_beyond_its_limits_may_come_back_and_goes_no_further() -> None:
    motion = at_rest(np.array([1.2, 0.0, 0.5]))
    out, _ = toward(motion, np.array([1.5, 0.0, 0.5]), LIMITS)
    assert out.command[0] <= 1.2
    for _ in range(60):
        motion, _ = toward(motion, np.array([0.5, 0.0, 0.5]), LIMITS, is_end=True)
    np.testing.assert_allclose(motion.command, [0.5, 0.0, 0.5], atol=1e-9)


def test_where_braking_ends_is_where_it_ends() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        motion = Motion(rng.uniform(LOW, HIGH), rng.uniform(-LIMITS.speed, LIMITS.speed))
        end = rest_of(motion, LIMITS)
        while not motion.is_at_rest:
            motion = braked(motion, LIMITS)
        np.testing.assert_allclose(motion.command, end, atol=1e-9)
