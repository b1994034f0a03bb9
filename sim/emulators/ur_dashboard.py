"""The dashboard server of Universal Robots (port 29999): one line in, one line out.

Source: "Dashboard Server e-Series", Universal Robots, article 42728.
"""

from sim.emulators.ur_controller import UrController

WELCOME = "Connected: Universal Robots Dashboard Server"
VERSION = "5.12.0.1101319"
_MODES = {3: "POWER_OFF", 5: "IDLE", 7: "RUNNING"}


def answer(line: str, controller: UrController, model: str, serial: str, remote: bool) -> str:
    """What the server says to a line."""
    word = line.strip()
    lower = word.lower()
    program = controller.program
    if lower == "polyscopeversion":
        return f"URSoftware {VERSION} (Mar 22 2022)"
    if lower == "get serial number":
        return serial
    if lower == "get robot model":
        return model
    if lower == "is in remote control":
        return str(remote).lower()
    if lower == "robotmode":
        return f"Robotmode: {_MODES[controller.robot_mode]}"
    if lower in ("safetystatus", "safetymode"):
        return f"{'Safetystatus' if lower == 'safetystatus' else 'Safetymode'}: {controller.safety}"
    if lower == "running":
        return f"Program running: {str(bool(program)).lower()}"
    if lower == "programstate":
        return f"{'PLAYING' if program else 'STOPPED'} {program or '<unnamed>'}"
    if lower == "stop":
        controller.end_program()
        return "Stopped"
    if lower == "unlock protective stop":
        if controller.unlock():
            return "Protective stop releasing"
        return "Cannot unlock protective stop until 5s after occurrence. Always inspect cause of protective stop before unlocking"
    if lower in ("power on", "power off", "brake release"):
        controller.power("on" if lower == "power on" else "off" if lower == "power off" else "brake release")
        return {"power on": "Powering on", "power off": "Powering off", "brake release": "Brake releasing"}[lower]
    if lower in ("close popup", "close safety popup"):
        return f"closing {lower[6:]}"
    if lower == "quit":
        return "Disconnected"
    return f"could not understand: '{word}'"
