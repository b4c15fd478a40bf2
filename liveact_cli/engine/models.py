"""Loading a model with its codecs: what differs between the families ends here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import torch

from liveact_cli.config.settings import RenderSettings
from liveact_cli.core.geometry import ChunkPlan, MemoryPolicy
from liveact_cli.core.protocols import AudioEncoder, FrameDecoder, PromptTrack
from liveact_cli.core.units import Size
from liveact_cli.engine.conditioning import FixedPrompt, Reference
from liveact_cli.engine.decode import DecodeSettings
from liveact_cli.engine.manifest import RenderPlan
from liveact_cli.engine.placement import options_of, place
from liveact_cli.model.schedule import StepSchedule
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime.adapting import AdaptivePlan
from liveact_cli.runtime.build import Options, build, without_graphs
from liveact_cli.runtime.crew import Attached, Crew
from liveact_cli.runtime.devices import choose_devices
from liveact_cli.runtime.orders import Make
from liveact_cli.script.resolved import ResolvedScript
from liveact_cli.weights.registry import Family
from liveact_cli.weights.store import heads_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from liveact_cli.mini.model import MiniModel
    from liveact_cli.script.direct import Granularity
    from liveact_cli.wan.bundle import WanModel


@dataclass(frozen=True, slots=True)
class View:
    """A picture as a model sees it: its conditions, its frame decoder, the latent size (h, w)."""

    reference: Reference
    decoder: FrameDecoder
    latent_size: tuple[int, int]
    notes: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()


class Speaker(Protocol):
    """A loaded model: everything that does not depend on the picture.

    Whoever loads it closes it (with a with block): it may hold processes on other devices.
    """

    def __enter__(self) -> Self:
        """Return itself."""
        ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Let go; an error that a lost process caused is told as such."""
        ...

    @property
    def transformer(self) -> LiveActTransformer:
        """The transformer, in its place and precision."""
        ...

    @property
    def policy(self) -> MemoryPolicy:
        """What a chunk remembers."""
        ...

    @property
    def decode_settings(self) -> DecodeSettings:
        """How its chunks are denoised."""
        ...

    @property
    def audio_encoder(self) -> AudioEncoder:
        """Turns sound into rows."""
        ...

    def look(self, picture: "NDArray[np.uint8]", size: Size, fps: float, face: int | None) -> View:
        """Prepare RGB `[H, W, 3]` for a video of `size` at `fps`.

        Raises MediaError where the picture cannot be used.
        """
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """How it computes, for the record of a video; complete when it has been tried out."""
        ...

    def recall(self, found: Mapping[str, Any]) -> None:
        """Compute as an earlier run of the same render did, whose `try_out` has returned this."""
        ...

    def try_out(self, first_chunk: Callable[[], object]) -> dict[str, Any]:
        """Decide what shows only while it runs; return it, to be recalled when a render goes on.

        `first_chunk` generates the first chunk and forgets it.
        """
        ...

    def say(self, prompt: str) -> PromptTrack:
        """Return what the transformer is told where one prompt holds throughout."""
        ...

    def direct(self, script: ResolvedScript, plan: ChunkPlan, view: View) -> PromptTrack:
        """Return what the transformer is told of a script; the view's decoder follows it too."""
        ...


@dataclass(frozen=True, slots=True)
class MiniSpeaker:
    """liveact-mini as a `Speaker`; `weights` is the file that it was loaded from."""

    model: "MiniModel"
    weights: Path

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """It holds nothing."""

    @property
    def transformer(self) -> LiveActTransformer:
        """The transformer of motion."""
        return self.model.transformer

    @property
    def policy(self) -> MemoryPolicy:
        """What a chunk remembers."""
        return self.model.policy

    @property
    def decode_settings(self) -> DecodeSettings:
        """The steps that its weights were distilled for."""
        return DecodeSettings(self.model.schedule, self.model.fold)

    @property
    def audio_encoder(self) -> AudioEncoder:
        """Log-mels through a small net."""
        return self.model.audio_encoder

    def look(self, picture: "NDArray[np.uint8]", size: Size, fps: float, face: int | None) -> View:
        """Fit the face and set up the renderer; the picture gives the transformer nothing."""
        from liveact_cli.mini.decoder import MotionFrameDecoder
        from liveact_cli.mini.face.fit import fit_face
        from liveact_cli.mini.face.renderer import FaceRenderer
        from liveact_cli.mini.model import LATENT_SIZE

        fit = fit_face(picture, face)
        notes: tuple[str, ...] = ()
        if fit.count > 1:
            chosen = "the largest" if fit.index == 0 else f"face {fit.index + 1}"
            notes = (f"the picture shows {fit.count} faces; {chosen} speaks (--face N chooses)",)
        renderer = FaceRenderer(fit, size.width, size.height)
        decoder = MotionFrameDecoder(self.model.codec, renderer, fps)
        return View(Reference(), decoder, LATENT_SIZE, notes, fit.warnings)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Nothing is chosen for it."""
        return {}

    def recall(self, found: Mapping[str, Any]) -> None:
        """There is nothing to recall."""

    def try_out(self, first_chunk: Callable[[], object]) -> dict[str, Any]:
        """Nothing has to be found out."""
        return {}

    def say(self, prompt: str) -> PromptTrack:
        """Look for the words of its vocabulary."""
        return FixedPrompt(self.model.prompt_encoder.encode(prompt))

    def direct(self, script: ResolvedScript, plan: ChunkPlan, view: View) -> PromptTrack:
        """Tell the transformer words per latent frame, and the curves their times to the frame."""
        from liveact_cli.mini.decoder import MotionFrameDecoder
        from liveact_cli.mini.direction import DirectedMotionDecoder, MiniDirection
        from liveact_cli.mini.response import response_of

        direction = MiniDirection(script, response_of(self.weights))
        if isinstance(view.decoder, MotionFrameDecoder):
            view.decoder.motion = DirectedMotionDecoder(self.model.codec, direction)
        return direction


def _load_mini(plan: RenderPlan) -> Speaker:
    from liveact_cli.mini.model import load_mini

    return MiniSpeaker(load_mini(plan.model.path), plan.model.path)


@dataclass
class WanSpeaker:
    """liveact-18b (and any checkpoint in its layout) as a `Speaker`.

    Pictures and prompts come first: the encoders have left the device when the transformer, which
    is loaded when it is first asked for, takes its place there. A crew is one on several devices.
    """

    load: Callable[[], LiveActTransformer | Crew]
    codecs: "WanModel"
    policy: MemoryPolicy
    decode_settings: DecodeSettings
    granularity: "Granularity" = "chunk"
    adaptive: AdaptivePlan | None = None
    ranks: int = 1
    _loaded: LiveActTransformer | Crew | None = None
    _drawing: tuple[Crew, Attached] | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """End the processes of a crew."""
        loaded, self._loaded, self._drawing = self._loaded, None, None
        if isinstance(loaded, Crew):
            loaded.__exit__(kind, error, trace)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Precision, kernels, and which layers run in FP8."""
        return self.transformer.facts

    def recall(self, found: Mapping[str, Any]) -> None:
        """Use the FP8 plan of an earlier run; the transformer is loaded anew where it differs."""
        if self.adaptive and "fp8_plan" in found and self.adaptive.recall(found["fp8_plan"]):
            self.__exit__(None, None, None)

    def try_out(self, first_chunk: Callable[[], object]) -> dict[str, Any]:
        """Measure the error of the layers in FP8, where that has not been done before."""
        if self.adaptive is None:
            return {}
        loaded = self._loaded
        if not self.adaptive.decided and loaded is not None:
            self.adaptive.decide(loaded, first_chunk)
        return {"fp8_plan": self.adaptive.found()}

    @property
    def transformer(self) -> LiveActTransformer:
        """The transformer, in its place and precision; loaded anew where a process was lost."""
        if isinstance(self._loaded, Crew) and self._loaded.lost:
            self._loaded.close()
            self._loaded = None
        if self._loaded is None:
            self._loaded = self.load()
        return self._loaded.transformer if isinstance(self._loaded, Crew) else self._loaded

    @property
    def audio_encoder(self) -> AudioEncoder:
        """wav2vec2."""
        return self.codecs.audio_encoder

    def look(self, picture: "NDArray[np.uint8]", size: Size, fps: float, face: int | None) -> View:
        """Encode the picture, scaled and cut to the video's size; faces are not looked for."""
        from liveact_cli.wan.bundle import fit_picture

        latent_size = self.codecs.latent_size(size)
        sight = self.codecs.see(fit_picture(picture, size))
        reference = Reference(sight.image_tokens, sight.y)
        return View(reference, self._frame_decoder(latent_size[0]), latent_size)

    def _frame_decoder(self, rows: int) -> FrameDecoder:
        """Return what draws a video of so many rows of latents, on several devices if it can be."""
        from liveact_cli.wan.shared_frames import LEAST_ROWS, SharedFrameDecoder

        make = self.codecs.share()
        if self.ranks == 1 or make is None or rows < LEAST_ROWS * self.ranks:
            return self.codecs.frame_decoder()
        return SharedFrameDecoder(partial(self._share, make))

    def _share(self, make: Make) -> Attached:
        """Return the shares of the drawing on all devices, which have been loaded by then."""
        crew = self._loaded
        assert isinstance(crew, Crew)
        if self._drawing is None or self._drawing[0] is not crew:
            self._drawing = crew, crew.attach(make)
        return self._drawing[1]

    def say(self, prompt: str) -> PromptTrack:
        """Encode the prompt, and let the encoder go."""
        track = FixedPrompt(self.codecs.prompt_encoder.encode(prompt))
        self.codecs.prompt_encoder.release()
        return track

    def direct(self, script: ResolvedScript, plan: ChunkPlan, view: View) -> PromptTrack:
        """Give every chunk or latent frame the prompt of its time, and let the encoder go."""
        from liveact_cli.engine.texts import TextTrack

        track = TextTrack(self.codecs.prompt_encoder, script, plan, self.granularity)
        self.codecs.prompt_encoder.release()
        return track


def decode_settings_of(settings: RenderSettings) -> DecodeSettings:
    """Return how a model like liveact-18b denoises; what is not set is as released."""
    guidance = settings.audio_guidance
    return DecodeSettings(
        StepSchedule(sampler=settings.sampler or "renoise"),
        fold="mean" if settings.memory == "mean" else "shared",
        audio_guidance=1.0 if guidance is None else guidance,
    )


def _load_wan(plan: RenderPlan) -> Speaker:
    from liveact_cli.wan.bundle import load_wan

    model, settings = plan.model, plan.settings
    placement = plan.placement or place(model, settings, plan.size)
    layout = placement.layout
    devices = choose_devices(layout.gpus, placement.device)
    options = options_of(placement, settings)
    codecs = load_wan(
        model.path,
        settings.audio_encoder,
        device=devices[0],
        dtype=options.dtype,
        policy=model.row.policy,
        cache=plan.cache,
        vae_overlap=bool(settings.vae_overlap),
        tile_pixels=layout.tile,
        latents_per_call=layout.latents_per_call,
        decoder=settings.decoder or "wan",
        decoder_weights=settings.decoder_weights,
        compiled=options.kernels == "compile",
        ranks=len(devices),
    )

    rounded = layout.precision == "fp8"
    adaptive = AdaptivePlan(model.path, backend=options.fp8_backend) if rounded else None

    def load() -> LiveActTransformer | Crew:
        fp8 = None if adaptive is None else adaptive.plan
        return load_shared(model.path, replace(options, fp8=fp8), devices)

    return WanSpeaker(
        load,
        codecs,
        model.row.policy,
        decode_settings_of(settings),
        settings.prompt_granularity or "chunk",
        adaptive,
        len(devices),
    )


def load_shared(
    checkpoint: Path, options: Options, devices: Sequence[torch.device]
) -> LiveActTransformer | Crew:
    """Load a transformer on one device, or on several that share the work."""
    if len(devices) == 1:
        return build(checkpoint, options, device=devices[0])
    make = partial(build, checkpoint, without_graphs(options))
    return Crew(make, devices, heads=heads_of(checkpoint))


LOADERS: dict[Family, Callable[[RenderPlan], Speaker]] = {"mini": _load_mini, "wan": _load_wan}


def load_speaker(plan: RenderPlan) -> Speaker:
    """Load a render's model with its codecs; raises WeightsError when its files do not fit."""
    return LOADERS[plan.model.row.family](plan)
