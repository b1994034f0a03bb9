"""What stands between any commander and an arm: decides at every tick what goes on the wire. No clock, no thread, no arm in here."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from jaxtyping import Float

from robo_dream.embodiment import ActionSpec, ArmState
from robo_dream.errors import ContractError
from robo_dream.recording.events import SafetyEvent
from robo_dream.safety.collision import Breach, CollisionCheck
from robo_dream.safety.frozen import FrozenReadings
from robo_dream.safety.limits import SafetyLimits, stale_state_reasons
from robo_dream.safety.motion import Motion, MotionLimits, at_rest, braked, rest_of, toward

Target = Float[np.ndarray, " joint_and_gripper"]
_CLIP_EVERY = 1.0  # s between two events of the same clip
_FUTURE = 0.01  # s; a target stamped later than that is of another clock


class Act(StrEnum):
    """What to do with an arm."""

    SEND = "SEND"  # put the command on the wire
    STOP = "STOP"  # call the driver's own stop, at once
    NOTHING = "NOTHING"


@dataclass(frozen=True)
class Request:
    """A joint target (closure last), when it was given, and how long its way should take. Seconds."""

    target: Target
    time: float
    duration: float


@dataclass(frozen=True)
class Ruling:
    """What to do, why the arm may not move freely (empty when it may), what happened, and whether commands have come to rest."""

    act: Act
    reasons: tuple[str, ...]
    events: tuple[SafetyEvent, ...]
    is_at_rest: bool


@dataclass(frozen=True)
class _Stop:
    reason: str
    latched: bool
    hard: bool  # by the driver's own stop, not by decelerating commands


def motion_limits(spec: ActionSpec, joint_speed: tuple[float, ...], limits: SafetyLimits) -> MotionLimits:
    """Limits on the wire of an arm with joint-target `spec` whose tool moves keep to `joint_speed` (rad/s)."""
    if spec.kind != "joint_target" or spec.size != len(joint_speed) + 1:
        raise ContractError(f"the guard needs joint targets and a gripper; got {spec.kind!r} {spec.names} with {len(joint_speed)} speeds")
    margin = np.append(np.full(len(joint_speed), limits.position_margin), 0.0)
    return MotionLimits(
        spec.names, spec.low.astype(float) + margin, spec.high.astype(float) - margin,
        np.append(limits.speed_factor * np.asarray(joint_speed), limits.gripper_speed),
        np.append(np.full(len(joint_speed), limits.joint_acceleration), limits.gripper_acceleration), spec.control_dt,
    )  # fmt: skip


class Guard:
    """A state machine; the same inputs give the same commands. `tick` it once for each command of `motion.dt`.

    A stop that is not latched ends by itself once commands are at rest and its cause is gone; a latched one at `reset`. `stop`,
    `emergency_stop` and `reset` may be called from any thread, and work at the next tick. `give` is how far a joint of this arm gives way
    under load (rad) before its tracking counts as lost.
    """

    def __init__(self, motion: MotionLimits, limits: SafetyLimits, collision: CollisionCheck | None = None, give: float = 0.0) -> None:
        self.limits, self.motion_limits = limits, motion
        self.give = give
        self._max_tracking_error = limits.max_tracking_error + give
        self._collision = collision
        self._motion: Motion | None = None  # None: nothing of ours is on the wire
        self._stop: _Stop | None = None
        self._requested: Request | None = None
        self._not_before = -np.inf  # targets that were given by then are not gone for (again)
        self._begun = 0.0  # when the present target was first seen
        self._origin = np.zeros(0)
        self._told: deque[tuple[float, np.ndarray]] = deque()
        self._breaches: tuple[Breach, ...] = ()  # where the arm would come to rest, each as small as it ever was
        self._requests: deque[_Stop | None] = deque()  # None: reset
        self._events: deque[SafetyEvent] = deque()
        self._clipped: dict[str, float] = {}
        self._is_gap = False
        self._has_given_up = False  # the present target: nobody has said for long that it is still requested
        self._now = -np.inf  # of the newest tick
        self._foreign = np.nan  # the time of a target that was stamped by another clock: it does not become good by waiting
        self._frozen = FrozenReadings()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why new targets are not accepted; empty when they are."""
        return () if self._stop is None else (self._stop.reason,)

    @property
    def is_still(self) -> bool:
        """Whether commands are at rest, and nothing that was asked for waits for the next tick."""
        return not self._requests and (self._motion is None or self._motion.is_at_rest)

    @property
    def told(self) -> Target | None:
        """Where the arm will be when it has done what it was last told; None when nothing of ours is on the wire."""
        if self._motion is None:
            return None
        if self._requested is None or self._stop is not None or self._has_given_up:
            return rest_of(self._motion, self.motion_limits)
        return np.clip(self._requested.target, self.motion_limits.low, self.motion_limits.high)

    @property
    def is_latched(self) -> bool:
        return self._stop is not None and self._stop.latched

    def stop(self, reason: str) -> None:
        """A controlled stop: decelerate, then hold. New targets are accepted once at rest."""
        self._requests.append(_Stop(reason, latched=False, hard=False))

    def emergency_stop(self, reason: str) -> None:
        """The driver's own stop at the next tick, and nothing more until `reset`."""
        self._requests.append(_Stop(reason, latched=True, hard=True))

    def reset(self) -> None:
        """Ends a latched stop; the next target starts from the measured pose."""
        self._requests.append(None)

    def release(self) -> None:
        """Nothing of the guard's is on the wire any more; the next target starts from where the arm says it is."""
        self._motion = None
        self._forget()

    def checked(self, now: float, target: np.ndarray) -> Target:
        """`target` as float64; raises `ContractError`, with an event, for one that is mis-shaped or not finite."""
        target = np.array(target, np.float64)
        names = self.motion_limits.names
        if target.shape != (len(names),):
            sentence = f"joint target has shape {target.shape}; expected ({len(names)},) for {names}"
        elif not np.isfinite(target).all():
            sentence = f"joint target {target} is not finite; expected numbers for {names}"
        else:
            return target
        self._events.append(SafetyEvent(now, "refused", sentence))
        raise ContractError(sentence)

    def take_events(self) -> tuple[SafetyEvent, ...]:
        """What happened since the last tick, or the last call."""
        events = tuple(self._events)
        self._events.clear()
        return events

    def tick(self, now: float, state: ArmState | None, requested: Request | None) -> tuple[Target, Ruling]:
        """The next command. `state` is the newest, None when the arm did not answer; `requested` the newest target, None before the first.

        Ages are counted from `now`, so `state.time`, `requested.time` and `now` are of one clock. Raises `ContractError` for a state of
        another arm.
        """
        if state is not None and np.shape(state.joint_pos) != (len(self.motion_limits.names) - 1,):
            raise ContractError(f"state has {np.size(state.joint_pos)} joints; the guard watches {self.motion_limits.names[:-1]}")
        self._notice_clock(now)
        self._notice_pause(now)
        act = self._take_requests(now)
        problem = self._problem(now, state)
        if problem and not (self._stop and self._stop.latched):
            self._begin_stop(now, _Stop(problem, latched=False, hard=False))
        elif not problem and state is not None and (self._is_frozen(now, state) or self._lost_track(now, state)):
            act = Act.STOP
        if self._stop is not None:
            self._not_before = max(self._not_before, now)
            command = self._stopping(state, bool(problem))
        else:
            command = self._following(now, state, requested) if state is not None else self._command(state)
        if self._motion is not None:
            self._note(now, self._motion.command)
            act = act or Act.SEND
        is_at_rest = self._motion is None or self._motion.is_at_rest
        return command, Ruling(act or Act.NOTHING, self.reasons, self.take_events(), is_at_rest)

    def _notice_clock(self, now: float) -> None:
        """A clock that goes back is another one: what was timed by the old one is moved along, and the arm comes to rest."""
        back, self._now = self._now - now, now
        if not back > 0:
            return
        self._begun -= back
        self._told = deque((time - back, command) for time, command in self._told)
        self._not_before = now
        self._clipped.clear()
        if self._requested is not None:
            self._requested = replace(self._requested, time=self._requested.time - back)
        self._begin_stop(now, _Stop(f"the clock went back by {back:.3f} s", latched=False, hard=False))

    def _notice_pause(self, now: float) -> None:
        """An arm that was told nothing for long has come to rest where it was told to be: braking from there would drag it on."""
        if self._motion is None or self._motion.is_at_rest or not self._told:
            return
        pause, allowed = now - self._told[-1][0], max(self.limits.max_command_gap, 2 * self.motion_limits.dt)
        if pause > allowed:
            self._event(now, "hold", f"no tick for {pause:.3f} s; allowed {allowed:.3f} s", pause=pause, allowed=allowed)
            self._motion = at_rest(self._motion.command)

    def _take_requests(self, now: float) -> Act | None:
        act = None
        while self._requests:
            request = self._requests.popleft()
            if request is None:
                if self._stop is not None:
                    self._event(now, "reset", f"reset after: {self._stop.reason}")
                    self._stop, self._motion = None, None
                    self._forget()
            else:
                self._begin_stop(now, request)
                act = Act.STOP if request.hard else act
        return act

    def _problem(self, now: float, state: ArmState | None) -> str:
        """Why the arm's own word cannot be acted on."""
        if state is None:
            return "the arm did not answer"
        if not (np.isfinite(state.joint_pos).all() and np.isfinite(state.gripper)):
            return f"arm state joint_pos is {state.joint_pos}, gripper {state.gripper}; expected finite numbers"
        return "; ".join(stale_state_reasons(state, now, self.limits))

    def _begin_stop(self, now: float, stop: _Stop) -> None:
        if self._stop is not None and (self._stop.latched or not stop.latched):
            return  # the first reason stands, unless a graver stop comes
        self._stop, self._requested = stop, None
        self._event(now, "emergency stop" if stop.hard and stop.latched else "stop", stop.reason)
        if stop.hard:
            self._motion = None  # the driver's stop decides where the arm comes to rest
            self._forget()

    def _is_frozen(self, now: float, state: ArmState) -> bool:
        """Latches a hard stop before a joint has been told to go on by more than tracking allows since its reading last changed."""
        if self._motion is None or (self._stop and self._stop.latched):
            return False
        command = self._motion.command[:-1]
        limits, run = self.motion_limits, self._frozen.run(state.joint_pos, command)
        fastest = np.minimum(np.abs(self._motion.velocity) + limits.acceleration * limits.dt, limits.speed)[:-1]
        joint = int(np.argmax(run))
        if run[joint] + fastest[joint] * limits.dt <= self._max_tracking_error:
            return False
        name = limits.names[joint]
        reason = (
            f"{name} was told to go {run[joint]:.3f} rad while its reading does not change; allowed {self._max_tracking_error:.3g} rad. "
            "See whether it is blocked or its sensor has failed, then reset"
        )
        self._latch(now, reason, float(run[joint]))
        return True

    def _lost_track(self, now: float, state: ArmState) -> bool:
        """Latches a hard stop when a joint is far from everywhere it was told to be of late; lag alone is no loss."""
        if self._motion is None or not self._told or (self._stop and self._stop.latched):
            return False
        told = np.stack([command for _, command in self._told])[:, :-1]
        off = np.maximum(told.min(0) - state.joint_pos, state.joint_pos - told.max(0))
        joint = int(np.argmax(off))
        if off[joint] <= self._max_tracking_error:
            return False
        name, limits = self.motion_limits.names[joint], self.limits
        reason = (
            f"{name} is {off[joint]:.3f} rad from everywhere it was told to be in the last {limits.max_tracking_seconds} s; "
            f"allowed {self._max_tracking_error:.3g} rad. See what blocks it, then reset"
        )
        self._latch(now, reason, float(off[joint]))
        return True

    def _latch(self, now: float, reason: str, error: float) -> None:
        self._event(now, "latched stop", reason, error=error, allowed=self._max_tracking_error)
        self._stop, self._requested, self._motion = _Stop(reason, latched=True, hard=True), None, None
        self._forget()

    def _stopping(self, state: ArmState | None, has_problem: bool) -> Target:
        """Decelerates; the stop ends when it is not latched, the arm is at rest and its word is good again."""
        assert self._stop is not None
        if self._motion is not None:
            self._motion = braked(self._motion, self.motion_limits)
        if not self._stop.latched and not has_problem and (self._motion is None or self._motion.is_at_rest):
            self._stop = None
        return self._command(state)

    def _following(self, now: float, state: ArmState, requested: Request | None) -> Target:
        if requested is not None and requested.time > now + _FUTURE:
            self._foreign = requested.time
            ahead = requested.time - now
            self._note_once(now, "refused", f"a target is stamped {ahead:.3f} s in the future, by another clock", "future", ahead=ahead)
        elif requested is not None and self._not_before < requested.time != self._foreign and not self._took(now, state, requested):
            return self._command(state)
        if self._motion is None or self._requested is None:
            return self._command(state)
        target, limits, before = self._requested.target, self.limits, self._motion
        elapsed, duration = now - self._begun, self._requested.duration
        dt = self.motion_limits.dt
        gap = now - self._requested.time
        allowed = max(limits.max_command_gap, duration) + 0.5 * dt  # a command that comes on its beat is not late
        if gap > allowed and not self._is_gap:
            self._event(now, "hold", f"no command for {gap:.3f} s; allowed {allowed:.3f} s", gap=gap, allowed=allowed)
            self._is_gap = True
        if gap > allowed and (np.abs(target - before.command) > limits.max_first_error).any():
            after: Motion = braked(before, self.motion_limits)
            self._has_given_up = True
        else:
            share = (elapsed + dt) / duration
            reference = target if share >= 1 - 1e-6 else self._origin + share * (target - self._origin)
            after, held = toward(before, reference, self.motion_limits, is_end=elapsed >= duration - 1e-6)
            self._note_clips(now, held, before, reference)
        self._motion = self._unblocked(now, before, after)
        return self._command(state)

    def _took(self, now: float, state: ArmState, requested: Request) -> bool:
        """Makes `requested` the target to go for; a first one must begin where the arm is."""
        self._not_before = requested.time
        if self._motion is None:
            present = np.append(state.joint_pos, state.gripper)
            told = present if state.joint_target is None else np.append(state.joint_target, state.target_gripper)
            lead = np.abs(told - present)[:-1].max()
            if lead > self.limits.max_tracking_error or not np.isfinite(told).all():
                told = present  # what the arm says it was told is not where it is
            reach = self.limits.max_first_error + self.motion_limits.speed * requested.duration
            away = np.abs(requested.target - told)
            away[-1] = 0.0  # a hand may close from wherever it is
            if (away > reach).any():
                joint = int(np.argmax(away - reach))
                reason = (
                    f"the first target of {self.motion_limits.names[joint]} is {away[joint]:.3f} rad from the present pose; "
                    f"allowed {self.limits.max_first_error} rad and what it can go in {requested.duration:.3g} s"
                )
                self._begin_stop(now, _Stop(reason, latched=False, hard=False))
                return False
            self._motion = at_rest(told)
            self._note(now, told)
            self._breaches = self._look(self._motion)
        self._requested, self._begun, self._origin, self._is_gap = requested, now, self._motion.command.copy(), False
        self._has_given_up = False
        return True

    def _unblocked(self, now: float, before: Motion, after: Motion) -> Motion:
        """`after`, or braking when where that would come to rest is not clear. Where `before` comes to rest was looked at already."""
        if self._collision is None or (after.is_at_rest and before.is_at_rest):
            return after
        found = self._look(after)
        worse = self._collision.worse(found, self._breaches)
        if not worse:
            self._breaches = self._collision.least(found, self._breaches)
            return after
        self._note_once(now, "blocked", worse[0].sentence, worse[0].kind, depth=worse[0].depth)
        return braked(before, self.motion_limits)

    def _look(self, motion: Motion) -> tuple[Breach, ...]:
        if self._collision is None:
            return ()
        rest = rest_of(motion, self.motion_limits)
        return self._collision.breaches(rest[:-1], float(np.clip(rest[-1], 0.0, 1.0)))

    def _command(self, state: ArmState | None) -> Target:
        """What is on the wire; where nothing of ours is, where the arm is."""
        if self._motion is not None:
            return self._motion.command
        return np.full(len(self.motion_limits.names), np.nan) if state is None else np.append(state.joint_pos, state.gripper)

    def _note(self, now: float, command: Target) -> None:
        """Keeps the commands that were in force during the last `max_tracking_seconds`."""
        self._told.append((now, command))
        while len(self._told) > 2 and self._told[1][0] <= now - self.limits.max_tracking_seconds:
            self._told.popleft()

    def _forget(self) -> None:
        self._told.clear()
        self._frozen.forget()
        self._breaches = ()
        self._requested = None

    def _note_clips(self, now: float, held: Mapping[str, int], before: Motion, reference: Target) -> None:
        limits = self.motion_limits
        allowed = {"speed": limits.speed, "acceleration": limits.acceleration}
        for kind, joint in held.items():
            requested = (reference[joint] - before.command[joint]) / limits.dt
            if kind == "acceleration":
                requested = (requested - before.velocity[joint]) / limits.dt
            numbers = {"requested": float(reference[joint]), "low": float(limits.low[joint]), "high": float(limits.high[joint])}
            if kind != "position":
                numbers = {"requested": float(requested), "allowed": float(allowed[kind][joint])}
            self._note_once(now, "clip", f"{limits.names[joint]} is kept to its {kind} limit", kind, **numbers)

    def _note_once(self, now: float, kind: str, reason: str, what: str, **numbers: float) -> None:
        """An event, unless the same came less than a second ago without a pause."""
        last = self._clipped.get(what, -np.inf)
        self._clipped[what] = now
        if now - last > _CLIP_EVERY:
            self._event(now, kind, reason, **numbers)

    def _event(self, now: float, kind: str, reason: str, **numbers: float) -> None:
        self._events.append(SafetyEvent(now, kind, reason, numbers))
