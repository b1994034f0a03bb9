"""The arm behind every emulated wire moves in real time, and its faults come when they are due."""

import threading
import time

import numpy as np
import pytest

from robo_dream.errors import ConfigError, ContractError
from robo_dream.testing.clocks import ManualClock
from sim.emulators.faults import Fault, FaultInjector, Faults
from sim.emulators.plant import JointReading, Plant
from sim.tabletop.world import World

SERVO_ERROR = 0.01  # rad that a position servo may be off at rest


@pytest.fixture(scope="module")
def world():
    with World() as world:
        yield world


@pytest.fixture
def plant(world):
    world.home()
    return Plant(world)


def test_physics_keeps_up_with_the_clock_on_the_wall(plant):
    with plant:
        time.sleep(0.05)  # the thread has started
        before, began = plant.world.time, time.monotonic()
        time.sleep(0.35)
        passed = plant.world.time - before
        took = time.monotonic() - began
    assert passed + plant.time_lost == pytest.approx(took, abs=0.13)  # a busy machine may be owed 0.1 s
    stopped = plant.world.time
    time.sleep(0.02)
    assert plant.world.time == stopped


def test_a_target_is_reached_by_physics_not_by_a_jump(plant):
    start = plant.joints().pos
    plant.set_target(start + 0.2, gripper=0.5)
    plant.advance(0.02)
    soon = plant.joints()
    assert np.abs(soon.pos - start).max() < 0.1 and soon.gripper < 0.2
    plant.advance(2.0)
    there = plant.joints()
    np.testing.assert_allclose(there.pos, start + 0.2, atol=SERVO_ERROR)
    assert there.gripper == pytest.approx(0.5, abs=0.05)
    assert np.abs(there.vel).max() < 0.01


def test_the_speed_limit_of_a_target_holds(plant):
    speeds: list[float] = []
    plant.watch(lambda reading: speeds.append(float(np.abs(reading.vel).max())))
    start = plant.joints().pos
    plant.set_target(start + [0.5, 0, 0, 0, 0, 0], max_speed=0.4)
    plant.advance(0.5)
    assert 0.3 < max(speeds) < 0.5
    assert plant.joints().pos[0] - start[0] < 0.25
    assert len(speeds) == round(0.5 / plant.world.model.opt.timestep)


def test_an_arm_without_torque_falls_and_takes_hold_where_it_is(plant):
    start = plant.joints().pos
    plant.set_torque(False)
    plant.advance(0.6)
    fallen = plant.joints().pos
    assert np.abs(fallen - start).max() > 0.02
    plant.set_torque(True)
    np.testing.assert_allclose(plant.target[:-1], fallen, atol=1e-9)
    plant.advance(0.01)
    assert np.abs(plant.joints().pos - fallen).max() < 0.05


def test_one_joint_without_torque_is_limp_and_the_others_hold(plant):
    start = plant.joints().pos
    plant.set_torque(False, joint=5)
    assert plant.torque.tolist() == [True] * 5 + [False, True]
    plant.set_target(start + [0, 0, 0, 0, 0, 0.3])
    plant.advance(0.5)
    np.testing.assert_allclose(plant.joints().pos[:5], start[:5], atol=SERVO_ERROR)
    assert plant.joints().effort[5] == 0.0


def test_a_target_that_is_not_finite_is_refused_and_nothing_moves(plant):
    before = plant.target
    with pytest.raises(ContractError, match="finite"):
        plant.set_target(np.full(6, np.nan))
    with pytest.raises(ContractError, match="6 finite"):
        plant.set_target(np.zeros(3))
    np.testing.assert_array_equal(plant.target, before)


def test_contacts_name_what_touches(plant):
    plant.advance(0.1)
    touching = {frozenset((contact.first, contact.second)) for contact in plant.contacts()}
    assert touching == {frozenset(("world", "object"))}
    weight = sum(contact.force for contact in plant.contacts())
    assert weight == pytest.approx(0.2 * 9.81, rel=0.05)  # the box's own


def test_a_failure_in_the_thread_is_told_to_whoever_asks(plant):
    asked = threading.Event()

    def fail(reading: JointReading) -> None:
        asked.set()
        raise ContractError("the watcher has seen enough")

    plant.watch(fail)
    with plant:
        assert asked.wait(1.0)
        time.sleep(0.02)
        with pytest.raises(ContractError, match="seen enough"):
            plant.joints()


def test_faults_come_when_they_are_due_and_go_when_they_are_over():
    clock = ManualClock()
    faults = FaultInjector(Faults((Fault("lost", start=1.0, duration=0.5),)), clock.now)
    assert faults.strike("lost") is None
    clock.time = 1.2
    assert faults.strike("lost") is not None and faults.strike("corrupt") is None
    clock.time = 1.5
    assert faults.strike("lost") is None


def test_a_counted_fault_lets_some_replies_pass_and_strikes_the_next_ones():
    faults = FaultInjector(clock=ManualClock().now)
    faults.inject(Fault("corrupt", skip=2, count=3))
    assert [faults.strike("corrupt") is not None for _ in range(7)] == [False] * 2 + [True] * 3 + [False] * 2


def test_a_fault_of_one_joint_spares_the_others_and_looking_spends_nothing():
    faults = FaultInjector(clock=ManualClock().now)
    faults.inject(Fault("mute", joint=2, count=1))
    assert faults.lasts("mute", 1) is None
    assert faults.lasts("mute", 2) is not None and faults.lasts("mute", 2) is not None
    assert faults.strike("mute", 2) is not None and faults.strike("mute", 2) is None
    faults.inject(Fault("mute"))
    faults.clear()
    assert faults.lasts("mute", 2) is None


def test_a_fault_that_makes_no_sense_is_refused():
    with pytest.raises(ConfigError, match="positive"):
        Fault("late", count=0)
