"""Loading a model with its codecs: what differs between the families ends here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, Self

import torch

from liveact_cli.config.settings import RenderSettings
from liveact_cli.core.errors import DeviceError
from liveact_cli.core.geometry import ChunkPlan, MemoryPolicy
from liveact_cli.core.protocols import AudioEncoder, FrameDecoder, PromptTrack
from liveact_cli.core.units import Size, format_bytes
from liveact_cli.engine.conditioning import FixedPrompt, Reference
from liveact_cli.engine.decode import DecodeSettings
from liveact_cli.engine.manifest import RenderPlan
from liveact_cli.model.schedule import StepSchedule
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime.crew import Crew
from liveact_cli.runtime.devices import choose_devices
from liveact_cli.script.resolved import ResolvedScript
from liveact_cli.weights.registry import Family
from liveact_cli.weights.resolve import ResolvedModel
from liveact_cli.weights.store import heads_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from liveact_cli.mini.model import MiniModel
    from liveact_cli.script.direct import Granularity
    from liveact_cli.wan.bundle import WanModel

LARGEST_ON_CPU: Final = 4_000_000_000
"""Bytes of weights that are still tried without a GPU: checkpoints for tests and studies."""


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
    _loaded: LiveActTransformer | Crew | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """End the processes of a crew."""
        loaded, self._loaded = self._loaded, None
        if isinstance(loaded, Crew):
            loaded.__exit__(kind, error, trace)

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
        return View(reference, self.codecs.frame_decoder(), latent_size)

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
    devices = choose_devices(settings.gpus, settings.device)
    device = devices[0]
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    if device.type == "cpu":
        _check_host_memory(model)
    codecs = load_wan(
        model.path,
        settings.audio_encoder,
        device=device,
        dtype=dtype,
        policy=model.row.policy,
        cache=plan.cache,
        vae_overlap=bool(settings.vae_overlap),
        tile_pixels=settings.tiles or None,
        decoder=settings.decoder or "wan",
        decoder_weights=settings.decoder_weights,
    )
    return WanSpeaker(
        partial(load_shared, model.path, dtype, devices),
        codecs,
        model.row.policy,
        decode_settings_of(settings),
        settings.prompt_granularity or "chunk",
    )


def load_shared(
    checkpoint: Path, dtype: torch.dtype, devices: Sequence[torch.device]
) -> LiveActTransformer | Crew:
    """Load a transformer on one device, or on several that share the work."""
    from liveact_cli.runtime.loader import load_transformer

    build = partial(load_transformer, checkpoint, dtype=dtype)
    if len(devices) == 1:
        return build(device=devices[0])
    return Crew(build, devices, heads=heads_of(checkpoint))


def _check_host_memory(model: ResolvedModel) -> None:
    """Say that there is no GPU before a large checkpoint fills the memory; small ones run."""
    weights = sum(file.stat().st_size for file in model.path.glob("*.safetensors"))
    if weights > LARGEST_ON_CPU:
        raise DeviceError(
            f"{model.row.name} needs a GPU, and there is none here (weights of "
            f"{format_bytes(weights)})",
            "--model liveact-mini runs on a CPU",
        )


LOADERS: dict[Family, Callable[[RenderPlan], Speaker]] = {"mini": _load_mini, "wan": _load_wan}


def load_speaker(plan: RenderPlan) -> Speaker:
    """Load a render's model with its codecs; raises WeightsError when its files do not fit."""
    return LOADERS[plan.model.row.family](plan)
