"""The configuration of a run: one TOML file, and what has to hold between its sections."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from atoll.budget_section import BudgetSection
from atoll.cache_section import CacheSection
from atoll.captions_section import CaptionsSection
from atoll.digests import digest_of
from atoll.errors import ConfigError
from atoll.expert_section import ExpertSection
from atoll.expert_server_section import ExpertServerSection
from atoll.island_section import IslandSection
from atoll.latents_section import LatentsSection
from atoll.membership_section import MembershipSection
from atoll.parallel_fit import refuse_buckets, refuse_layout
from atoll.patches import refuse_patch
from atoll.provider_sections import (
    KubernetesSection,
    SkypilotSection,
    SlurmSection,
    SshSection,
)
from atoll.schedule_fit import refuse_long_warmup
from atoll.section import Section
from atoll.sections import (
    CheckpointsSection,
    DataSection,
    EvaluationSection,
    OrchestratorSection,
    PartitionSection,
    RouterSection,
    RunSection,
    SamplingSection,
)
from atoll.serving_section import ServingSection
from atoll.strategies import num_experts_of
from atoll.training_section import TrainingSection


class Config(Section):
    """A whole run."""

    run: RunSection = RunSection()
    data: DataSection = DataSection()
    captions: CaptionsSection = CaptionsSection()
    partition: PartitionSection = PartitionSection()
    latents: LatentsSection = LatentsSection()
    expert: ExpertSection = ExpertSection()
    training: TrainingSection = TrainingSection()
    checkpoints: CheckpointsSection = CheckpointsSection()
    cache: CacheSection = CacheSection()
    island: IslandSection = IslandSection()
    slurm: SlurmSection = SlurmSection()
    ssh: SshSection = SshSection()
    budget: BudgetSection = BudgetSection()
    kubernetes: KubernetesSection = KubernetesSection()
    skypilot: SkypilotSection = SkypilotSection()
    orchestrator: OrchestratorSection = OrchestratorSection()
    membership: MembershipSection = MembershipSection()
    router: RouterSection = RouterSection()
    sampling: SamplingSection = SamplingSection()
    serving: ServingSection = ServingSection()
    expert_server: ExpertServerSection = ExpertServerSection()
    evaluation: EvaluationSection = EvaluationSection()

    @model_validator(mode="after")
    def _every_expert_gets_a_batch(self) -> Self:
        if self.training.batch_size < self.partition.num_experts:
            raise ValueError(
                f"training.batch_size = {self.training.batch_size} is divided among "
                f"partition.num_experts = {self.partition.num_experts}; give at least one each"
            )
        return self

    @model_validator(mode="after")
    def _every_objective_is_some_experts(self) -> Self:
        num, experts = len(self.training.objectives), self.partition.num_experts
        if num > experts:
            raise ValueError(
                f"training.objectives names {num}, which experts take in turn, and "
                f"partition.num_experts = {experts}; name no more than there are experts"
            )
        return self

    @model_validator(mode="after")
    def _layouts_divide_islands_and_network(self) -> Self:
        island = self.island
        try:
            for parallel in island.parallel:
                refuse_layout(parallel, self.expert, self.training)
                refuse_buckets(parallel, self.data.buckets)
                for nodes in range(island.fewest_nodes, island.nodes + 1):
                    parallel.over(nodes * island.processes)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self

    @model_validator(mode="after")
    def _buckets_are_of_single_images_and_whole_patches(self) -> Self:
        buckets, frames = self.data.buckets, self.expert.frames
        if buckets and frames > 1:
            raise ValueError(
                f"expert.frames = {frames} stand one below the other, and data.buckets would cut "
                "through them; leave data.buckets out, or set expert.frames to 1"
            )
        if self.latents.vae is not None:
            return self  # patches are of latents, whose sides are known once they are made
        patches = {"expert.patch": self.expert.sizes.patch, "router.patch": self.router.sizes.patch}
        try:
            for height, width in buckets or ():
                for key, patch in patches.items():
                    refuse_patch(patch, height, width, key, sides="each side in data.buckets")
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self

    @model_validator(mode="after")
    def _there_is_a_condition_to_perturb(self) -> Self:
        gamma = self.training.perturb_condition
        if gamma and self.expert.condition == "none":
            raise ValueError(
                f"training.perturb_condition = {gamma:g} is noise on embedded conditions, and "
                'expert.condition = "none"; set it to 0'
            )
        return self

    @model_validator(mode="after")
    def _training_can_go_back(self) -> Self:
        island = self.island
        if self.training.on_spike == "rollback" and (island.nodes > 1 or not island.restarts):
            raise ValueError(
                'training.on_spike = "rollback" is for islands of one node that start their '
                "trainer anew; set island.nodes to 1 and island.restarts above 0, or on_spike to "
                '"skip"'
            )
        return self

    @model_validator(mode="after")
    def _router_decays_too(self) -> Self:
        training = self.training
        refuse_long_warmup(
            training.schedule,
            {"router.steps": self.router.steps},
            {"training.warmup_steps": training.warmup_steps},
        )
        return self

    @model_validator(mode="after")
    def _records_can_be_signed(self) -> Self:
        signing = (self.orchestrator.tls, self.expert_server.tls, self.serving.experts_tls)
        if self.membership.peers and not any(signing):
            raise ValueError(
                "membership.peers needs orchestrator.tls, a folder that `atoll certs` made, or "
                "expert_server.tls or serving.experts_tls for experts elsewhere: what is told in a "
                "DHT is believed for its signature alone"
            )
        return self

    @model_validator(mode="after")
    def _kept_checkpoints_are_made(self) -> Self:
        kept, made = self.checkpoints.keep_every_steps, self.training.checkpoint_every_steps
        if kept % made:
            raise ValueError(
                f"checkpoints.keep_every_steps = {kept} is no multiple of "
                f"training.checkpoint_every_steps = {made}, so that none would be kept by it"
            )
        return self

    @model_validator(mode="after")
    def _what_a_cost_is_reckoned_from_is_known(self) -> Self:
        if self.budget.cost and not any(self.island.prices.values()):
            raise ValueError(
                f"budget.cost = {self.budget.cost:g} limits what nodes cost, and by "
                "island.price_per_hour they cost nothing; set it, or limit budget.node_hours"
            )
        return self

    @model_validator(mode="after")
    def _condition_can_be_had(self) -> Self:
        kind, data = self.expert.condition, self.data
        if kind == "text" and data.source == "digits":
            raise ValueError(
                'expert.condition = "text", but digits have no captions; set it to "class"'
            )
        array = {"class": "labels", "text": "captions"}.get(kind)
        if array and data.source == "npz" and getattr(data, array) is None:
            raise ValueError(
                f'expert.condition = "{kind}" needs data.{array}, the name of their array in the '
                'file; set it, or expert.condition to "none"'
            )
        return self

    @model_validator(mode="after")
    def _cross_attention_has_tokens(self) -> Self:
        if self.expert.cross_attention and not self.captions.tokens:
            raise ValueError(
                "expert.cross_attention = true looks at a caption's tokens, and captions.tokens = "
                "0 leaves one vector of the whole; set it, to 77 for CLIP, say"
            )
        return self

    @model_validator(mode="after")
    def _strategies_can_work(self) -> Self:
        rows = [("evaluation.strategies", strategy) for strategy in self.evaluation.strategies]
        for key, strategy in [("sampling.strategy", self.sampling.strategy), *rows]:
            if num_experts_of(strategy) > self.partition.num_experts:
                raise ValueError(
                    f'{key} asks for "{strategy}", but there are only '
                    f"partition.num_experts = {self.partition.num_experts}"
                )
            if strategy == "sample" and self.sampling.solver == "dopri5":
                raise ValueError(
                    f'{key} asks for "sample", which draws an expert at each step anew, and '
                    'sampling.solver = "dopri5" cannot follow jumps; choose euler, heun or midpoint'
                )
        return self

    @model_validator(mode="after")
    def _averages_can_be_made(self) -> Self:
        length = self.sampling.ema_length
        if length is not None and self.training.ema_profile != "power":
            raise ValueError(
                f"sampling.ema_length = {length:g} is made of averages of power profiles, and "
                f'training.ema_profile = "{self.training.ema_profile}"; leave it out, or train '
                'with "power"'
            )
        return self

    @model_validator(mode="after")
    def _gate_knows_the_features(self) -> Self:
        if self.sampling.gate == "centroid" and self.partition.features != "pca":
            raise ValueError(
                'sampling.gate = "centroid" compares noised pixels with centroids, and needs '
                'partition.features = "pca"; use the learned gate'
            )
        return self

    @model_validator(mode="after")
    def _latents_are_of_single_images(self) -> Self:
        if self.latents.vae is None:
            return self
        if self.expert.frames > 1:
            raise ValueError(
                f"expert.frames = {self.expert.frames}, and latents.vae would blur each frame into "
                "the next one's edge; leave latents.vae out, or set expert.frames to 1"
            )
        if self.sampling.gate == "centroid":
            raise ValueError(
                'sampling.gate = "centroid" compares noised pixels with centroids, and with '
                "latents.vae there are none; use the learned gate"
            )
        return self

    @model_validator(mode="after")
    def _guidance_has_both_branches(self) -> Self:
        guidance, expert = self.sampling.guidance, self.expert
        if guidance != 1 and expert.condition == "none":
            raise ValueError(
                f'sampling.guidance = {guidance:g} needs a condition, and expert.condition = "none"'
                "; set the guidance to 1"
            )
        if guidance != 1 and expert.condition_dropout == 0:
            raise ValueError(
                f"sampling.guidance = {guidance:g} needs experts that also know images without "
                "their condition; raise expert.condition_dropout above 0, or set the guidance to 1"
            )
        return self

    def digest(self, *sections: str, without: tuple[str, ...] = ()) -> str:
        """Hash of some sections, or of all.

        Args:
            sections: names of sections; none means all of them.
            without: dotted keys that do not count, e.g. ``training.steps``.

        Returns:
            sha256 in hex, equal for equal settings whatever the file looked like.
        """
        values = self.model_dump(mode="json", include=set(sections) or None)
        for key in without:
            section, name = key.split(".")
            values.get(section, {}).pop(name, None)
        return digest_of(values)
