"""The latent video model as planners see it: `believe`, `imagine` and `poses`, and as people see it: `decode`."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from robo_dream.embodiment import ActionSpec, Observation
from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, Chance, Imagination, ScenePose
from robo_dream.models.compiled import Plain, RowRunner
from robo_dream.models.config import ModelSpec, require_local_goals
from robo_dream.models.dynamics import MAX_LATE, Dynamics, Memory, Outcomes, times_of
from robo_dream.models.encoder import Decoder, Encoder, to_float, to_uint8
from robo_dream.models.heads import Affordances, PoseHead, TemporalDistance, scene_pose
from robo_dream.models.policy import ActionLabeller, GoalConditionedPolicy, InverseDynamics, LocalGoals
from robo_dream.models.video import VideoFlow
from robo_dream.models.words import GoalWords
from robo_dream.upload import uploaded

IMAGINE_ROWS = 16384  # rows imagined at once; 16384 rows of size S take about 250 MB
DECODE_ROWS = 512
NOT_SEEN = 128  # of each channel: what stands in for a picture that did not come


class LatentVideoModel(nn.Module):
    """An action-conditioned latent video model; a `WorldModel`.

    What is imagined, read or scored from latents can be differentiated by the actions; callers that do not, say `torch.no_grad`.
    `seed` makes the first weights; the caller's random state is left as it was.
    """

    def __init__(self, spec: ModelSpec, seed: int = 0, imagine_rows: int = IMAGINE_ROWS) -> None:
        super().__init__()
        self.spec = spec
        self.imagine_rows = imagine_rows
        self.run: RowRunner = Plain()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = Encoder(spec)
            self.decoder = Decoder(spec)
            self.dynamics = Dynamics(spec)
            self.policy = GoalConditionedPolicy(spec)
            self.inverse_dynamics = InverseDynamics(spec)
            self.temporal_distance = TemporalDistance(spec)
            self.pose_head = PoseHead(spec)
            self.local_goals = LocalGoals(spec) if spec.local_goals else None
            self.memory = Memory(spec) if spec.config.memory else None  # these last: they change no other weight
            self.affordances = Affordances(spec) if spec.waypoints else None
            self.outcomes = Outcomes(spec) if spec.config.outcomes else None
            self.labeller = ActionLabeller(spec) if spec.label_window is not None else None
            self.video = VideoFlow(spec) if spec.video is not None else None
            self.words = GoalWords(spec) if spec.words is not None else None
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        low, high = torch.from_numpy(spec.action_spec.low), torch.from_numpy(spec.action_spec.high)
        self.action_middle: Tensor
        self.action_half: Tensor
        self.register_buffer("action_middle", 0.5 * (low + high), persistent=False)
        self.register_buffer("action_half", 0.5 * (high - low), persistent=False)
        self.still: Tensor
        self.register_buffer(
            "still", torch.from_numpy(spec.action_spec.clip(np.zeros(spec.action_spec.size, np.float32))), persistent=False
        )

    @property
    def action_spec(self) -> ActionSpec:
        return self.spec.action_spec

    @property
    def action_block(self) -> int:
        return self.spec.config.action_block

    @property
    def cameras(self) -> tuple[str, ...]:
        return self.spec.cameras

    @property
    def device(self) -> torch.device:
        return self.action_half.device

    @torch.no_grad()
    def believe(self, histories: Sequence[Sequence[Observation]]) -> Belief:
        """The latent of the last observation of each history (proprioception carries the lag, so one frame is enough).

        A model of `picture_goals` takes an arm of which nothing is known (`ArmState.unknown`) as well.

        Raises `ContractError` for an empty history, a missing camera, another picture size or another proprioception.
        """
        if not histories:
            raise ContractError("believe was given no history; give one sequence of observations for each planning problem")
        views: list[list[np.ndarray]] = [[] for _ in self.cameras]
        proprios = []
        for row, history in enumerate(histories):
            if not history:
                raise ContractError(f"history {row} is empty; give at least one observation")
            for view, image in zip(views, self._checked_images(history[-1]), strict=True):
                view.append(image)
            proprios.append(self._checked_proprio(history[-1]))
        images = [uploaded(np.stack(view), self.device) for view in views]
        latent = self.encode(images, uploaded(np.stack(proprios), self.device))
        if self.memory is None:
            return Belief(latent)
        nothing = latent.new_zeros(len(latent), self.spec.config.memory)
        return Belief(latent, memory=nothing, unseen=torch.zeros(len(latent), dtype=torch.int64, device=latent.device))

    @property
    def remembers(self) -> bool:
        return self.memory is not None

    @torch.no_grad()
    def update(self, previous: Belief, actions: Float[Tensor, "batch time action"], observations: Sequence[Observation]) -> Belief:
        """What is believed now, one observation a row; `actions` were really applied since `previous` (none: it is looked at again).

        A camera that is missing, or shows what was `MAX_LATE` control steps ago or before, showed nothing; the arm must say where it is.
        Raises `ContractError` for a model without memory, a `previous` of another one, and as `believe` does.
        """
        if self.memory is None or previous.memory is None or previous.unseen is None:
            who = "this model" if self.memory is None else "the previous belief"
            raise ContractError(f"{who} has no memory to update; give what `believe` of a model with memory says, or begin with `believe`")
        actions = uploaded(actions, self.device)
        late, views = zip(*(self._came(observation) for observation in observations), strict=True)
        images = [uploaded(np.stack(view), self.device) for view in zip(*views, strict=True)]
        proprio = uploaded(np.stack([self._checked_proprio(observation) for observation in observations]), self.device)
        num_late = uploaded(np.asarray(late, np.float32), self.device)
        since = torch.full((len(proprio),), float(actions.shape[1]), device=self.device)
        latent, memory = self.filtered(
            previous.memory, self._expected(previous, actions), self.encode(images, proprio), proprio, times_of(since, num_late)
        )
        came = ~num_late.isnan().all(-1)
        return Belief(latent, memory=memory, unseen=torch.where(came, 0, previous.unseen + actions.shape[1]))

    def filtered(
        self,
        memory: Float[Tensor, "row memory"],
        expected: Float[Tensor, "row channel"],
        seen: Float[Tensor, "row channel"],
        proprio: Float[Tensor, "row proprio"],
        times: Float[Tensor, "row number"],
    ) -> tuple[Float[Tensor, "row channel"], Float[Tensor, "row memory"]]:
        """What is believed of what was `expected` and what is `seen`, and the next memory: see `Memory.now`."""
        assert self.memory is not None
        poses = [self.pose_head.normal(latents).float() for latents in (expected, seen)]
        poses.append((poses[1] - poses[0]).abs())
        arm = ((proprio - self.encoder.proprio_mean) / self.encoder.proprio_std).clamp(-5.0, 5.0)
        latent, kept = self.run(self.memory.now, memory, expected, seen, torch.cat([*poses, arm, times], -1))
        return latent, kept

    @torch.no_grad()
    def encode(
        self, views: Sequence[UInt8[Tensor, "batch height width 3"]], proprio: Float[Tensor, "batch proprio"]
    ) -> Float[Tensor, "batch channel"]:
        """Latents of pictures (one tensor for each camera, in the model's order) and proprioception; as good while it trains."""
        return self.encoder.evaluated([to_float(view) for view in views], proprio)

    def imagine(self, belief: Belief, actions: Float[Tensor, "batch sample time action"]) -> Imagination:
        """Unrolls every candidate on its own; `time` must be a whole number of action blocks.

        A belief with a chance leads to several futures; raises `ContractError` where the model has learned but one.
        """
        if belief.chance is not None:
            return self._futures(belief, belief.chance, actions)
        batch, samples = actions.shape[:2]
        blocks = self._blocks(actions)
        latents = belief.latent.repeat_interleave(samples, 0)  # (B*K, D)
        uncertainty = belief.latent.new_zeros(batch) if belief.disagreement is None else belief.disagreement
        rows = [latents, blocks, uncertainty.repeat_interleave(samples, 0)]
        if belief.memory is not None:
            rows.append(belief.memory.repeat_interleave(samples, 0))
        some_rows = zip(*(values.split(self.imagine_rows) for values in rows), strict=True)
        parts = [self._rolled(*some) for some in some_rows]
        means, spreads = parts[0] if len(parts) == 1 else (torch.cat(values) for values in zip(*parts, strict=True))
        return Imagination(means.unflatten(0, (batch, samples)), spreads.unflatten(0, (batch, samples)), belief.memory)

    def _rolled(
        self, latents: Tensor, blocks: Float[Tensor, "row horizon block"], uncertainty: Tensor, *memory: Tensor
    ) -> tuple[Float[Tensor, "row horizon channel"], Float[Tensor, "row horizon"]]:
        """See `Dynamics.imagine`; compiled, one step's code for all of them: that of twelve in a row takes ten times as long to make."""
        if not self.run.compiles:
            means, spreads = self.run(self.dynamics.imagine, latents, blocks, uncertainty, *memory)
            return means, spreads
        found: list[tuple[Tensor, Tensor]] = []
        for step in range(blocks.shape[1]):
            mean, spread = self.run(self.dynamics.imagine, latents, blocks[:, step : step + 1], uncertainty, *memory)
            latents, uncertainty = mean[:, 0], spread[:, 0]
            found.append((mean, spread))
        return torch.cat([mean for mean, _ in found], 1), torch.cat([spread for _, spread in found], 1)

    def _futures(self, belief: Belief, chance: Chance, actions: Float[Tensor, "batch sample time action"]) -> Imagination:
        """The likeliest future of every candidate, with the heads' disagreement along it, and those that `chance` brings."""
        if self.outcomes is None:
            raise ContractError("this model has learned one future only; imagine without a chance, or train it with stage=futures")
        batch, samples = actions.shape[:2]
        blocks = self._blocks(actions)
        horizon, num_futures = blocks.shape[1], chance.draws.shape[1]
        if chance.draws.shape[2] < horizon:
            raise ContractError(f"chance was drawn for {chance.draws.shape[2]} imagined steps; these actions take {horizon}")
        draws = chance.draws[:, :, :horizon].transpose(0, 1).repeat_interleave(samples, 1)  # (F, B*K, H)
        draws = torch.cat([torch.zeros_like(draws[:1]), draws])  # in front the likeliest, which heeds no draw
        temperature = torch.full_like(draws[:, :, 0], chance.temperature)
        temperature[0] = 0.0
        rows = [belief.latent.repeat_interleave(samples, 0).repeat(num_futures + 1, 1), blocks.repeat(num_futures + 1, 1, 1)]
        rows += [draws.flatten(0, 1), temperature.flatten()]
        if belief.memory is not None:
            rows.append(belief.memory.repeat_interleave(samples, 0).repeat(num_futures + 1, 1))
        some_rows = zip(*(values.split(self.imagine_rows) for values in rows), strict=True)
        parts = [self.run(self._one_future, *some) for some in some_rows]
        found, spreads = (torch.cat(values).unflatten(0, (num_futures + 1, batch, samples)) for values in zip(*parts, strict=True))
        variance = spreads[0].square().cumsum(-1)
        if belief.disagreement is not None:
            variance = variance + belief.disagreement.square()[:, None, None]
        return Imagination(found[0], variance.sqrt(), belief.memory, found[1:])

    def _one_future(
        self,
        latents: Float[Tensor, "row channel"],
        blocks: Float[Tensor, "row horizon block"],
        draws: Float[Tensor, "row horizon"],
        temperature: Float[Tensor, " row"],
        memory: Float[Tensor, "row memory"] | None = None,
    ) -> tuple[Float[Tensor, "row horizon channel"], Float[Tensor, "row horizon"]]:
        """See `Outcomes.imagine`."""
        assert self.outcomes is not None
        return self.outcomes.imagine(self.dynamics, latents, blocks, draws, temperature, memory)

    def rollout_per_member(self, belief: Belief, actions: Float[Tensor, "batch sample time action"]) -> tuple[Imagination, ...]:
        """The future of each head of the ensemble on its own, which no disagreement averages out."""
        batch, samples = actions.shape[:2]
        memory = None if belief.memory is None else belief.memory.repeat_interleave(samples, 0)
        futures = self.dynamics.rollout_per_member(belief.latent.repeat_interleave(samples, 0), self._blocks(actions), memory)
        latents = futures.unflatten(1, (batch, samples))
        return tuple(Imagination(future, torch.zeros_like(future[..., 0]), belief.memory) for future in latents)

    def poses(self, latents: Float[Tensor, "*batch channel"]) -> ScenePose:
        (numbers,) = self.run(self.pose_head.numbers, latents.reshape(-1, latents.shape[-1]))
        return scene_pose(numbers.unflatten(0, latents.shape[:-1]))

    def distance(self, latents: Float[Tensor, "*batch channel"], goals: Float[Tensor, "*#batch channel"]) -> Float[Tensor, "*batch"]:
        """Learned temporal distance in control steps (symmetric)."""
        return self.temporal_distance(latents, goals)

    def seen(self, latents: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch number"]:
        """What the policy sees of latents: all of them, normalised poses, or these and then all (`ModelConfig.policy_input`)."""
        if self.spec.config.policy_input == "latents":
            return latents
        poses = self.pose_head.normal(latents)
        return poses if self.spec.config.policy_input == "poses" else torch.cat([poses, latents], -1)

    def block_actions(self, blocks: Float[Tensor, "*batch block"]) -> Float[Tensor, "*batch time action"]:
        """Normalised blocks as actions in physical units, within the action limits."""
        actions = blocks.unflatten(-1, (-1, self.action_spec.size)).clamp(-1.0, 1.0)
        return actions * self.action_half + self.action_middle

    def normalise_actions(self, actions: Float[Tensor, "*batch action"]) -> Float[Tensor, "*batch action"]:
        """Actions with -1 and 1 at their limits."""
        return (actions - self.action_middle) / self.action_half

    @torch.inference_mode()
    def decode(self, latents: Float[Tensor, "*batch channel"]) -> dict[str, UInt8[Tensor, "*batch height width 3"]]:
        """Pictures of every camera."""
        lead, rows = latents.shape[:-1], latents.reshape(-1, latents.shape[-1])
        parts = [[to_uint8(view) for view in self.decoder(some)] for some in rows.split(DECODE_ROWS)]
        views = [torch.cat(part) for part in zip(*parts, strict=True)]
        return {name: view.reshape(*lead, *view.shape[1:]) for name, view in zip(self.cameras, views, strict=True)}

    def running(self, run: RowRunner) -> "LatentVideoModel":
        """The same model, weights shared, that imagines, proposes and reads poses as `run` does: see `rows.row_runner`."""
        twin = copy.copy(self)
        twin.run = run
        return twin

    def with_local_goals(self, ahead: Sequence[int], seed: int = 0) -> "LatentVideoModel":
        """A copy with untrained local goals so many control steps ahead; all other weights are as they are.

        Raises `ConfigError` for steps that are no growing multiples of the action block.
        """
        return self.extended(replace(self.spec, local_goals=require_local_goals(tuple(ahead), self.action_block)), seed)

    def extended(self, spec: ModelSpec, seed: int = 0) -> "LatentVideoModel":
        """A copy with the parts that `spec` has beyond this one's, untrained, as are parts of another size; all else is as it is."""
        made = LatentVideoModel(spec, seed, self.imagine_rows).to(self.device)
        desired = made.state_dict()
        kept = {name: value for name, value in self.state_dict().items() if name in desired and desired[name].shape == value.shape}
        changed = spec.local_goals != self.spec.local_goals
        made.load_state_dict(
            {**desired, **{name: value for name, value in kept.items() if not (changed and name.startswith("local_goals."))}}
        )
        return made.train(self.training)

    def _blocks(self, actions: Float[Tensor, "batch sample time action"]) -> Float[Tensor, "row horizon block"]:
        """Normalised action blocks of every candidate; raises `ContractError` for a time that is no multiple of the block."""
        batch, samples, time, size = actions.shape
        if size != self.action_spec.size or time % self.action_block or time == 0:
            raise ContractError(
                f"actions have {time} steps of {size} numbers; expected a multiple of the action block {self.action_block} "
                f"with {self.action_spec.size} numbers {self.action_spec.names}"
            )
        return self.normalise_actions(actions).reshape(batch * samples, time // self.action_block, -1)

    def _expected(self, previous: Belief, actions: Float[Tensor, "batch time action"]) -> Float[Tensor, "batch channel"]:
        """Where `actions` lead; a last block that they do not fill is filled with holding still."""
        missing = -actions.shape[1] % self.action_block
        if actions.shape[1] == 0:
            return previous.latent
        still = actions[:, -1:] if self.action_spec.kind == "joint_target" else self.still.expand(len(actions), 1, -1)
        filled = torch.cat([actions, still.expand(-1, missing, -1)], 1)[:, None]
        return self.imagine(previous, filled.to(previous.latent)).latents[:, 0, -1]

    def _came(self, observation: Observation) -> tuple[list[float], list[np.ndarray]]:
        """By how many control steps each picture is late, NaN where none came, and the pictures."""
        side, late, views = self.spec.config.image_size, [], []
        for name in self.cameras:
            frame = observation.frames.get(name)
            steps = np.nan if frame is None else max(0.0, (observation.time - frame.time) / self.action_spec.control_dt)
            is_seen = frame is not None and steps <= MAX_LATE + 0.5
            late.append(float(steps) if is_seen else np.nan)
            views.append(frame.image if frame is not None and is_seen else np.full((side, side, 3), NOT_SEEN, np.uint8))
        self._require_size(views)
        return late, views

    def _checked_images(self, observation: Observation) -> list[np.ndarray]:
        images = observation.images(self.cameras)
        self._require_size(images)
        return images

    def _require_size(self, images: Sequence[np.ndarray]) -> None:
        side = self.spec.config.image_size
        for name, image in zip(self.cameras, images, strict=True):
            if image.shape != (side, side, 3):
                raise ContractError(f"camera {name!r} gives {image.shape}; the model takes ({side}, {side}, 3): set the camera's size")

    def _checked_proprio(self, observation: Observation) -> np.ndarray:
        proprio, names = observation.arm.proprio_for(self.action_spec), self.spec.proprio_names
        is_picture_alone = self.spec.config.picture_goals and np.isnan(proprio).all()
        if proprio.shape != (len(names),) or not (is_picture_alone or np.isfinite(proprio).all()):
            raise ContractError(f"proprioception is {proprio}; the model needs {len(names)} finite numbers: {', '.join(names)}")
        return proprio
